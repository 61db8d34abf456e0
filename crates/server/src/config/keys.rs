//! How a key of the configuration is declared: one field with its doc comment and its default.
//!
//! The doc comment is the text of the key in docs/configuration.md; `tests.rs` compares both, and the defaults, and
//! looks for each key in config/frontdesk.yaml.

/// Declares a section whose keys all have a default.
macro_rules! section {
    (
        $(#[$attribute:meta])*
        pub(crate) struct $name:ident {
            $($(#[doc = $doc:literal])+ $key:ident: $value:ty = $default:expr,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, serde::Deserialize, PartialEq)]
        #[cfg_attr(test, derive(serde::Serialize))]
        #[serde(default, deny_unknown_fields)]
        pub(crate) struct $name {
            $($(#[doc = $doc])+ pub(crate) $key: $value,)+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)+ }
            }
        }

        #[cfg(test)]
        impl $name {
            /// The keys and their doc comments.
            pub(crate) const KEYS: &'static [(&'static str, &'static str)] =
                &[$((stringify!($key), concat!($($doc),+))),+];
        }
    };
}
pub(crate) use section;

/// Declares the entries of a list: the first key is required, the others are optional.
macro_rules! entry {
    (
        $(#[$attribute:meta])*
        pub(crate) struct $name:ident {
            $(#[doc = $required_doc:literal])+ $required:ident: $required_value:ty,
            $($(#[doc = $doc:literal])+ $key:ident: $value:ty,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, serde::Deserialize, PartialEq)]
        #[cfg_attr(test, derive(serde::Serialize))]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name {
            $(#[doc = $required_doc])+ pub(crate) $required: $required_value,
            $($(#[doc = $doc])+ #[serde(default)] pub(crate) $key: $value,)+
        }

        #[cfg(test)]
        impl $name {
            /// The keys and their doc comments.
            pub(crate) const KEYS: &'static [(&'static str, &'static str)] = &[
                (stringify!($required), concat!($($required_doc),+)),
                $((stringify!($key), concat!($($doc),+))),+
            ];
        }
    };
}
pub(crate) use entry;
