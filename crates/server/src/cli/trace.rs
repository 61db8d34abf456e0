//! `frontdesk trace`: a live ladder of messages, and a capture file.
//!
//! Decides when the output has columns: on a terminal. It ends with Ctrl-C, so each line and each packet is written whole
//! at once.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use super::arguments::TraceCommand;
use super::client::{Client, percent_encoded};
use super::ladder::Ladder;
use crate::error::CliError;
use crate::trace::{self, TraceLine};

/// Shows messages until the server ends, or nobody reads the output.
pub(crate) fn trace(client: &Client, TraceCommand { whose, pcap }: &TraceCommand) -> Result<(), CliError> {
    let mut ladder = Ladder::new(width());
    let mut file = pcap.as_deref().map(create).transpose()?;
    let mut is_read = true;
    let outcome = client.lines(&format!("trace?user={}", percent_encoded(whose)), |line| {
        // An empty line only shows that the server is still there.
        let Ok(line) = serde_json::from_slice(line) else { return Ok(()) };
        let text = match line {
            TraceLine::Lost { lost } => ladder.lost(lost),
            TraceLine::Message(entry) => {
                if let Some((path, file)) = &mut file {
                    let packet = trace::pcap_packet(entry.micros(), entry.ends(), &entry.octets());
                    file.write_all(&packet).map_err(|source| failed(path, source))?;
                }
                ladder.message(&entry)
            }
        };
        is_read = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()).is_ok();
        // Any error ends the trace. This one is not shown.
        if is_read { Ok(()) } else { Err(CliError::Thread(io::ErrorKind::BrokenPipe.into())) }
    });
    if is_read { outcome } else { Ok(()) }
}

fn create(path: &Path) -> Result<(&Path, File), CliError> {
    let create = || {
        let mut file = File::create(path)?;
        file.write_all(&trace::pcap_header())?;
        Ok(file)
    };
    create().map(|file| (path, file)).map_err(|source| failed(path, source))
}

fn failed(path: &Path, source: io::Error) -> CliError {
    CliError::File { path: path.to_owned(), source }
}

/// The width of the terminal; `None` if standard output is none.
fn width() -> Option<usize> {
    let stdout = io::stdout();
    let size = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(&stdout).ok())??;
    Some(usize::from(size.ws_col)).filter(|width| *width > 0)
}
