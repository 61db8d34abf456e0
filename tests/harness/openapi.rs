//! Checks the admin API against docs/openapi.yaml: whether a path is described, and whether a response has the
//! described shape.
//!
//! It knows the keywords of JSON Schema that the description uses. A property that is not described is an error too.

use serde_json::{Map, Value};

use super::http::Answer;

/// The description.
pub(crate) struct Description(Value);

impl Description {
    /// Reads it.
    pub(crate) fn read() -> Self {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.yaml");
        let text = std::fs::read_to_string(path).expect("docs/openapi.yaml");
        Self(serde_yaml::from_str(&text).expect("a description"))
    }

    /// Every operation: method in upper case, path.
    pub(crate) fn operations(&self) -> Vec<(String, String)> {
        let paths = self.0["paths"].as_object().expect("paths");
        let methods = |path: &str, item: &Value| {
            let methods = item.as_object().expect("a path item").keys();
            methods.map(|method| (method.to_uppercase(), path.to_owned())).collect::<Vec<_>>()
        };
        paths.iter().flat_map(|(path, item)| methods(path, item)).collect()
    }

    /// The statuses of the responses to an operation.
    pub(crate) fn statuses(&self, method: &str, path: &str) -> Vec<u16> {
        let responses = self.0["paths"][path][method.to_lowercase()]["responses"].as_object().expect("responses");
        responses.keys().filter_map(|status| status.parse().ok()).collect()
    }

    /// Fails unless this response to an operation is as described.
    #[track_caller]
    pub(crate) fn check(&self, method: &str, path: &str, answer: &Answer) {
        let place = format!("{method} {path}: {}", answer.status);
        let responses = &self.0["paths"][path][method.to_lowercase()]["responses"];
        let response = self.follow(&responses[answer.status.to_string()]);
        let content = response["content"].as_object().unwrap_or_else(|| panic!("{place} is not described"));
        let (kind, media) = content.iter().next().expect("a type");
        assert!(answer.header("Content-Type").starts_with(kind), "{place} is {}", answer.header("Content-Type"));
        match kind.as_str() {
            "application/json" => self.fits(&media["schema"], &answer.json(), &place),
            "application/yaml" => {
                self.fits(&media["schema"], &serde_yaml::from_str(&answer.body).expect("YAML"), &place);
            }
            _ => self.fits(&media["schema"], &Value::String(answer.body.clone()), &place),
        }
    }

    /// Query strings with a valid or an invalid value for each parameter, the others being valid, and whether it is
    /// valid as a whole.
    pub(crate) fn queries(&self, method: &str, path: &str) -> Vec<(String, bool)> {
        let parameters = self.0["paths"][path][method.to_lowercase()]["parameters"].as_array();
        let parameters = parameters.into_iter().flatten().map(|parameter| self.follow(parameter));
        let parameters: Vec<&Value> = parameters.filter(|parameter| parameter["in"] == "query").collect();
        let name = |parameter: &Value| parameter["name"].as_str().expect("a name").to_owned();
        let needed = |but: &str| {
            let needed = parameters.iter().filter(|parameter| parameter["required"] == true && name(parameter) != but);
            needed.map(|parameter| format!("&{}=bob", name(parameter))).collect::<String>()
        };
        let mut queries = Vec::new();
        for parameter in &parameters {
            let own = name(parameter);
            if parameter["required"] == true {
                queries.push((needed(&own), false));
            }
            for (value, is_good) in values(&parameter["schema"]) {
                queries.push((format!("{own}={value}{}", needed(&own)), is_good));
            }
        }
        queries
    }

    #[track_caller]
    fn fits(&self, schema: &Value, value: &Value, place: &str) {
        let schema = self.follow(schema);
        let kinds: Vec<&str> = match &schema["type"] {
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            kind => kind.as_str().into_iter().collect(),
        };
        assert!(kinds.iter().any(|kind| is_a(kind, value)), "{place} should be {kinds:?}, not {value}");
        if let Some(allowed) = schema["enum"].as_array() {
            assert!(allowed.contains(value), "{place} should be one of {allowed:?}, not {value}");
        }
        match value {
            Value::Array(items) => {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(at, item)| self.fits(&schema["items"], item, &format!("{place}[{at}]")));
            }
            Value::Object(object) => self.fits_object(schema, object, place),
            _ => {}
        }
    }

    #[track_caller]
    fn fits_object(&self, schema: &Value, object: &Map<String, Value>, place: &str) {
        for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            assert!(object.contains_key(required), "{place} has no {required}");
        }
        if schema["properties"].is_null() {
            return;
        }
        for (key, value) in object {
            let property = &schema["properties"][key];
            assert!(property.is_object(), "{place}.{key} is not described");
            self.fits(property, value, &format!("{place}.{key}"));
        }
    }

    fn follow<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str().and_then(|place| place.strip_prefix('#')) {
            Some(pointer) => self.0.pointer(pointer).unwrap_or_else(|| panic!("nothing at {pointer}")),
            None => value,
        }
    }
}

/// Valid and invalid values of a parameter.
fn values(schema: &Value) -> Vec<(String, bool)> {
    let mut values = Vec::new();
    let mut add = |value: String, is_good| values.push((value, is_good));
    match schema["type"].as_str().expect("a type") {
        "integer" => {
            for (bound, outside) in [("minimum", -1), ("maximum", 1)] {
                let bound = schema[bound].as_i64().expect("a bound");
                add(bound.to_string(), true);
                add((bound + outside).to_string(), false);
            }
            ["", "many", "1.5", "99999999999999999999"].iter().for_each(|bad| add((*bad).to_owned(), false));
        }
        "string" if schema["anyOf"][0]["format"] == "ipv4" && schema["anyOf"][1]["format"] == "ipv6" => {
            ["192.0.2.1", "2001:db8::1"].iter().for_each(|good| add((*good).to_owned(), true));
            ["nowhere", "192.0.2", "192.0.2.1:5060", "10"].iter().for_each(|bad| add((*bad).to_owned(), false));
        }
        "string" if schema["anyOf"][0]["format"] == "date-time" => {
            ["2026-12-24T10:00:00Z", "2026-12-24T10:00"].iter().for_each(|good| add((*good).to_owned(), true));
            ["now", "2026-13-24T10:00", "10:00"].iter().for_each(|bad| add((*bad).to_owned(), false));
        }
        "string" => {
            add("bob".to_owned(), true);
            if schema["minLength"] == 1 {
                add(String::new(), false);
            }
        }
        other => panic!("{other} is no type of a parameter that this judge knows"),
    }
    values
}

fn is_a(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("{other} is no type that this judge knows"),
    }
}
