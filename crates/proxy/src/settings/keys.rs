//! Secrets of the server.
//!
//! Values only; the server creates and stores them. They must not reach a log.

/// Keys for the values that the core signs or encrypts.
#[derive(Clone)]
pub struct Keys {
    /// Signs Record-Route and branch parameters. It stays the same after a restart, so that calls continue.
    pub route: [u8; 16],
    /// Encrypts temporary GRUUs. It stays the same after a restart, so that they stay valid.
    pub gruu: [u8; 32],
    /// Signs nonces. A new one at every start, so that no nonce outlives the table of its counts.
    pub nonce: [u8; 16],
}

impl std::fmt::Debug for Keys {
    /// Secrets must not reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}
