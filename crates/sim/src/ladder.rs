//! Draws messages as a ladder diagram.

use std::fmt::Write;

use crate::net::Sent;

/// One line for each message: seconds, agent, direction, number of copies unless it is one, start line, CSeq, branch.
pub(crate) fn draw<'a, 'n>(sent: impl Iterator<Item = &'a Sent>, name: impl Fn(usize) -> &'n str) -> String {
    let mut text = String::new();
    for Sent { micros, agent, by_server, sip, copies } in sent {
        let fate = match copies {
            0 => "lost",
            1 => "",
            _ => "twice",
        };
        let arrow = if *by_server { "<--" } else { "-->" };
        let (seconds, millis) = (micros / 1_000_000, micros / 1000 % 1000);
        let (who, start) = (name(*agent), sip.start.trim_end_matches(" SIP/2.0"));
        let (cseq, branch) = (sip.value("CSeq"), sip.branch());
        let _ = writeln!(text, "{seconds:5}.{millis:03} {who:>10} {arrow} {fate:5} {start}  ({cseq}; {branch})");
    }
    text
}
