//! Replies of scripts. Pure.

use redis::Value;

/// A reply of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Nil,
    Status(String),
    Number(i64),
    Bytes(Vec<u8>),
    List(Vec<Reply>),
}

impl Reply {
    /// Reads a value of Redis. `None` for a value that no script returns, such as an error inside a list.
    pub fn read(value: Value) -> Option<Self> {
        Some(match value {
            Value::Nil => Self::Nil,
            Value::SimpleString(text) => Self::Status(text),
            Value::Okay => Self::Status("OK".into()),
            Value::Int(number) => Self::Number(number),
            Value::BulkString(bytes) => Self::Bytes(bytes),
            Value::Array(values) => Self::List(values.into_iter().map(Self::read).collect::<Option<_>>()?),
            _ => return None,
        })
    }

    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Status(status) if status == "OK")
    }

    pub fn status(&self) -> Option<&str> {
        match self {
            Self::Status(status) => Some(status),
            _ => None,
        }
    }

    pub fn list(&self) -> Option<&[Reply]> {
        match self {
            Self::List(parts) => Some(parts),
            _ => None,
        }
    }

    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        self.bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// A number, which scripts also return as text. `None` if it is negative.
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => u64::try_from(*number).ok(),
            _ => self.text()?.parse().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_replies() {
        let value = Value::Array(vec![
            Value::Int(-1),
            Value::BulkString(b"17".to_vec()),
            Value::Nil,
            Value::Okay,
            Value::SimpleString("FENCED".into()),
        ]);
        let reply = Reply::read(value).unwrap();
        let parts = reply.list().unwrap();
        assert_eq!((parts[0].number(), parts[1].number(), parts[2].number()), (None, Some(17), None));
        assert!(parts[3].is_ok() && !parts[4].is_ok());
        assert_eq!(parts[4].status(), Some("FENCED"));
    }

    #[test]
    fn a_value_that_no_script_returns_is_none() {
        assert_eq!(Reply::read(Value::Array(vec![Value::Double(0.5)])), None);
    }
}
