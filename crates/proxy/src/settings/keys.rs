//! Secrets of the server.
//!
//! Values only; the server creates and stores them. They must not reach a log.

/// Keys for the values that the core signs or encrypts.
#[derive(Clone)]
pub struct Keys {
    /// Signs Record-Route and branch parameters, and what nodes of a cluster send each other. It stays the same after a
    /// restart, so that calls continue, and is the same at all nodes.
    pub route: [u8; 16],
    /// Encrypts temporary GRUUs. It stays the same after a restart, so that they stay valid.
    pub gruu: [u8; 32],
    /// Signs nonces. A new one at every start, so that no nonce outlives the table of its counts.
    pub nonce: [u8; 16],
    /// The keys before `route` and `gruu` were replaced. What was signed or encrypted with them is still valid, but nothing
    /// new is. To be dropped when every phone has registered again; `None` if they were not replaced lately.
    pub previous: Option<LongLivedKeys>,
}

/// The keys that outlive a run of the server.
#[derive(Clone)]
pub struct LongLivedKeys {
    /// As [`Keys::route`].
    pub route: [u8; 16],
    /// As [`Keys::gruu`].
    pub gruu: [u8; 32],
}

impl Keys {
    /// Those that outlive this run.
    pub const fn long_lived(&self) -> LongLivedKeys {
        LongLivedKeys { route: self.route, gruu: self.gruu }
    }
}

impl std::fmt::Debug for Keys {
    /// Secrets must not reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

impl std::fmt::Debug for LongLivedKeys {
    /// Secrets must not reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LongLivedKeys")
    }
}
