//! Values of the keys outside the sections: the number of workers, authentication, `strangers` and `foreign`.

use proxy::{Foreign, Strangers};

use super::scalar::{Scalar, scalars};

/// Number of worker threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Workers(pub(crate) u8);

/// Whether users must authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Authentication {
    /// Digest.
    Required,
    /// No authentication.
    Off,
}

/// `strangers` by its name in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StrangersName(pub(crate) Strangers);

/// `foreign` by its name in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ForeignName(pub(crate) Foreign);

scalars!(Workers, Authentication, StrangersName, ForeignName);

impl Scalar for Workers {
    const EXPECTED: &'static str = "a number of threads, 1 to 64";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok().filter(|count| (1..=64).contains(count)).map(Self)
    }
}

impl Scalar for Authentication {
    const EXPECTED: &'static str = "required or off";

    fn read(text: &str) -> Option<Self> {
        match text {
            "required" => Some(Self::Required),
            // YAML 1.1 editors turn `off` into `false`.
            "off" | "false" => Some(Self::Off),
            _ => None,
        }
    }
}

impl Scalar for StrangersName {
    const EXPECTED: &'static str = "refuse or accept";

    fn read(text: &str) -> Option<Self> {
        match text {
            "refuse" => Some(Self(Strangers::Refuse)),
            "accept" => Some(Self(Strangers::Accept)),
            _ => None,
        }
    }
}

impl Scalar for ForeignName {
    const EXPECTED: &'static str = "refuse or authenticated";

    fn read(text: &str) -> Option<Self> {
        match text {
            "refuse" => Some(Self(Foreign::Refuse)),
            "authenticated" => Some(Self(Foreign::Authenticated)),
            _ => None,
        }
    }
}
