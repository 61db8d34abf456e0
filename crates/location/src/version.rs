//! The version of a stored record, by which a commit detects that the record has changed (compare and swap).
//!
//! Plain numbers. A store assigns them; callers only compare them and pass them back.

use std::num::NonZeroU64;

/// The version of a stored record. A store gives each new record of an address a higher version than all earlier ones,
/// also if the record was removed in between. So equal versions mean equal content. A version is valid for the store that
/// assigned it, as long as this store is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(NonZeroU64);

impl Version {
    /// The version with this number; `None` for 0, the number of a record that no store contains.
    pub(crate) const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}
