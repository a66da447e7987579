//! A refused request, with all its errors.

use serde_json::{Map, Value};
use uuid::Uuid;

/// All errors of a request, and the names to which the handler may add errors.
#[derive(Clone, Debug, PartialEq)]
pub struct Invalid {
    /// The body of the 422 answer.
    pub errors: Value,
    /// The connection in the request, if readable. If it is unknown, the handler adds an error.
    pub conn_id: Option<Uuid>,
    /// The user in the request, if readable, even if its length is wrong. If it is unknown, the handler adds an error.
    pub user: Option<String>,
}

impl Invalid {
    /// An error of the whole body.
    pub fn schema(text: impl Into<String>) -> Self {
        Self::field("_schema", text)
    }

    /// An error of one field.
    pub fn field(field: &str, text: impl Into<String>) -> Self {
        let mut invalid = Self::from(Value::Object(Map::new()));
        invalid.add(field, text);
        invalid
    }

    /// Adds a text to a field's errors. A field whose errors are a tree (of list items or values) remains unchanged.
    pub fn add(&mut self, field: &str, text: impl Into<String>) {
        if let Value::Object(errors) = &mut self.errors {
            let texts = errors.entry(field).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(texts) = texts {
                texts.push(Value::String(text.into()));
            }
        }
    }
}

impl From<Value> for Invalid {
    fn from(errors: Value) -> Self {
        Self { errors, conn_id: None, user: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_are_added_to_existing_errors() {
        let mut invalid = Invalid::field("user", "Length must be between 1 and 512.");
        invalid.add("user", "Unknown user");
        invalid.add("conn_id", "Unknown connection");
        assert_eq!(
            invalid.errors,
            json!({
                "user": ["Length must be between 1 and 512.", "Unknown user"],
                "conn_id": ["Unknown connection"]
            })
        );
    }

    #[test]
    fn trees_are_not_changed() {
        let errors = json!({"channels": {"0": ["Not a valid string."]}});
        let mut invalid = Invalid::from(errors.clone());
        invalid.add("channels", "more");
        assert_eq!(invalid.errors, errors);
    }
}
