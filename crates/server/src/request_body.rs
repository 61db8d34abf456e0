//! The body of a request to the admin API or to `/me`: a small JSON object.
//!
//! Decides how long and how large it may be. Must not decide what its members mean.

use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::time::timeout;

/// The largest body; what is sent has a few hundred octets.
const MAX_LENGTH: usize = 4 << 10;

/// How long a request waits for its body.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The body as a value. The error tells what was expected.
pub(crate) async fn object<T: DeserializeOwned>(body: Incoming) -> Result<T, String> {
    match timeout(TIMEOUT, Limited::new(body, MAX_LENGTH).collect()).await {
        Ok(Ok(body)) => read(&body.to_bytes()),
        _ => Err("expected a body of at most 4 KiB".to_owned()),
    }
}

/// An empty body is an object without members. serde would read an array as a struct too, by the order of its fields.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    let members: Map<String, Value> = if body.is_empty() {
        Map::new()
    } else {
        serde_json::from_slice(body).map_err(|error| format!("expected a JSON object: {error}"))?
    };
    serde_json::from_value(Value::Object(members)).map_err(|error| format!("expected other members: {error}"))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq, Eq)]
    #[serde(default, deny_unknown_fields)]
    struct Person {
        name: Option<String>,
    }

    #[test]
    fn only_an_object_is_accepted() {
        let of = |name: Option<&str>| Ok(Person { name: name.map(str::to_owned) });
        assert_eq!(read(b""), of(None));
        assert_eq!(read(b"{}"), of(None));
        assert_eq!(read(br#" { "name": "x" } "#), of(Some("x")));
        for bad in ["[]", r#"["x"]"#, "null", "x", r#"{ "name": 1 }"#, r#"{ "other": "x" }"#] {
            assert!(read::<Person>(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
