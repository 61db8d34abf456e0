//! The WebSocket connections of pages that are neither listed in `ws.origins` nor of this server.
//!
//! Browsers let every page open a WebSocket to every address. So a page could send unreadable messages until the address of
//! its visitor is banned. Such messages do not count. A wrong password does: otherwise a page could use its visitors to guess
//! passwords without an end. Decides which connections are remembered: the number is limited, and the oldest is forgotten.

use std::collections::VecDeque;
use std::net::SocketAddr;

use hashbrown::HashSet;

/// The addresses of the clients.
#[derive(Debug, Default)]
pub(super) struct ForeignPages {
    clients: HashSet<SocketAddr>,
    /// The same, oldest first; some have been removed since.
    order: VecDeque<SocketAddr>,
}

impl ForeignPages {
    /// A connection was opened from this address. An earlier one from there has ended.
    pub(super) fn opened(&mut self, client: SocketAddr, is_foreign_page: bool, max: usize) {
        if !is_foreign_page {
            self.clients.remove(&client);
            return;
        }
        if self.clients.insert(client) {
            self.order.push_back(client);
        }
        while self.order.len() > max.max(1) {
            if let Some(oldest) = self.order.pop_front() {
                self.clients.remove(&oldest);
            }
        }
    }

    /// Whether the connection from this address is one of a foreign page.
    pub(super) fn contains(&self, client: SocketAddr) -> bool {
        self.clients.contains(&client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(port: u16) -> SocketAddr {
        ([198, 51, 100, 7], port).into()
    }

    #[test]
    fn the_last_connection_of_an_address_counts_and_the_number_is_limited() {
        let mut pages = ForeignPages::default();
        pages.opened(client(1), true, 10);
        assert!(pages.contains(client(1)) && !pages.contains(client(2)));
        pages.opened(client(1), false, 10);
        assert!(!pages.contains(client(1)));
        for port in 0..100 {
            pages.opened(client(port), true, 10);
        }
        assert!(pages.clients.len() <= 10 && pages.order.len() <= 10 && pages.contains(client(99)));
    }
}
