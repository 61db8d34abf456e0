//! The supported transports: their names in Via and in URIs, and their constants (RFC 3261 7.3.1, 19.1.1, 26.2.2; RFC
//! 7118 5).

/// A supported `transport` (RFC 3261 25.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// UDP: datagrams, no connection.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// WebSocket, RFC 7118.
    Ws,
    /// WebSocket over TLS, RFC 7118.
    Wss,
}

impl Transport {
    /// The transport of a token in a Via or a `transport` parameter, in any case; `None` if it is not supported.
    pub fn from_token(token: &[u8]) -> Option<Self> {
        [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss]
            .into_iter()
            .find(|transport| token.eq_ignore_ascii_case(transport.as_str().as_bytes()))
    }

    /// The name as written in a Via.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// The value of a URI's `transport` parameter.
    pub fn param(&self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// Whether the transport is reliable, so that SIP does not retransmit (RFC 3261 17).
    pub fn is_reliable(&self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// Whether only the client can open a connection (RFC 7118 1, RFC 6455 4).
    pub fn is_websocket(&self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    /// Whether it may be used for a `sips` URI (RFC 3261 26.2.2).
    pub fn is_secure(&self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// The default port: 5060 or 5061 (RFC 3261 18.1.1), 80 or 443 for WebSocket (RFC 7118 5).
    pub fn default_port(&self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_are_known_in_any_case() {
        for transport in [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss] {
            assert_eq!(Transport::from_token(transport.as_str().as_bytes()), Some(transport));
            assert_eq!(Transport::from_token(transport.param().as_bytes()), Some(transport));
        }
        assert_eq!(Transport::from_token(b"SCTP"), None);
        assert_eq!(Transport::from_token(b""), None);
    }
}
