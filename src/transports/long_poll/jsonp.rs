//! The callback names with which a JSONP response may begin: paths of plain identifiers, such as `a.b[0]`.

/// Maximum length of a name, in bytes.
pub const MAX_LENGTH: usize = 128;

/// Words that are not identifiers in JavaScript. As a callback name they are a mistake or an attack.
const RESERVED: [&str; 48] = [
    "arguments",
    "await",
    "break",
    "case",
    "catch",
    "class",
    "const",
    "continue",
    "debugger",
    "default",
    "delete",
    "do",
    "else",
    "enum",
    "eval",
    "export",
    "extends",
    "false",
    "finally",
    "for",
    "function",
    "if",
    "implements",
    "import",
    "in",
    "instanceof",
    "interface",
    "let",
    "new",
    "null",
    "package",
    "private",
    "protected",
    "public",
    "return",
    "static",
    "super",
    "switch",
    "this",
    "throw",
    "true",
    "try",
    "typeof",
    "var",
    "void",
    "while",
    "with",
    "yield",
];

/// Properties that give access to objects outside the named one.
const ESCAPES: [&str; 3] = ["__proto__", "constructor", "prototype"];

/// A regular expression of ECMA-262 for such names in the API description. It does not cover the length.
pub fn pattern() -> String {
    const WORD: &str = r"[A-Za-z_$][A-Za-z0-9_$]*(\[[0-9]+\])*";
    const END: &str = "(?![A-Za-z0-9_$])";
    let (reserved, escapes) = (RESERVED.join("|"), ESCAPES.join("|"));
    format!(r"^(?!({reserved}){END})(?!(.*\.)?({escapes}){END}){WORD}(\.{WORD})*$")
}

/// Whether the name is an identifier, or a path of identifiers with `.name` and `[0]`, of at most 128 characters.
pub fn valid(name: &str) -> bool {
    if name.len() > MAX_LENGTH {
        return false;
    }
    let mut first = true;
    name.split('.').all(|segment| {
        let (word, indexes) = segment.split_at(segment.find('[').unwrap_or(segment.len()));
        let reserved = std::mem::take(&mut first) && RESERVED.contains(&word);
        !reserved && !ESCAPES.contains(&word) && is_identifier(word) && are_indexes(indexes)
    })
}

fn is_identifier(word: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphabetic() || b == b'_' || b == b'$';
    word.bytes().next().is_some_and(letter) && word.bytes().all(|b| letter(b) || b.is_ascii_digit())
}

/// Whether the text consists of zero or more times `[digits]`.
fn are_indexes(mut text: &str) -> bool {
    while !text.is_empty() {
        let Some((digits, rest)) = text.strip_prefix('[').and_then(|inner| inner.split_once(']')) else {
            return false;
        };
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return false;
        }
        text = rest;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    proptest! {
        #[test]
        fn the_pattern_matches_exactly_the_valid_names(
            parts in proptest::collection::vec("[ab$_0]|[\\[\\]().\n -]|\\[0\\]|\\.|in|int|this|constructor|prototype|__proto__", 0..6),
        ) {
            let name = parts.concat();
            let pattern = jsonschema::validator_for(&json!({"pattern": pattern()})).unwrap();
            prop_assert_eq!(pattern.is_valid(&json!(name)), valid(&name), "{:?}", name);
        }
    }

    #[test]
    fn the_pattern_excludes_every_reserved_word() {
        let pattern = jsonschema::validator_for(&json!({"pattern": pattern()})).unwrap();
        for word in RESERVED {
            let names = [
                word,
                &format!("{word}[070]"),
                &format!("{word}.a"),
                &format!("{word}x"),
                &format!("a.{word}"),
            ];
            assert_eq!(
                names.map(|name| pattern.is_valid(&json!(name))),
                [false, false, false, true, true],
                "{word}"
            );
            assert_eq!(names.map(valid), [false, false, false, true, true], "{word}");
        }
        for word in ESCAPES {
            let names = [
                word,
                &format!("a[0].{word}[1]"),
                &format!("{word}.a"),
                &format!("a.{word}.b"),
                &format!("a.x{word}"),
            ];
            assert_eq!(
                names.map(|name| pattern.is_valid(&json!(name))),
                [false, false, false, false, true],
                "{word}"
            );
            assert_eq!(names.map(valid), [false, false, false, false, true], "{word}");
        }
    }

    #[test]
    fn names_that_libraries_generate_are_valid() {
        let longest = "x".repeat(128);
        for name in
            ["cb", "$x_1", "_", "a.b[0]", "a[0][12].c", "jQuery3610_16", "ng.callbacks._0", "a.new", &longest]
        {
            assert!(valid(name), "{name}");
        }
    }

    #[test]
    fn other_names_are_refused() {
        let too_long = "x".repeat(129);
        let refused = [
            "",
            " ",
            "a b",
            "1a",
            "a.",
            ".a",
            "a..b",
            "a[",
            "a[]",
            "a[x]",
            "a]0[",
            "a['b']",
            "a()",
            "alert(1)//",
            "a;b",
            "<script>",
            "é",
            "a\n",
            "eval",
            "function",
            "this.x",
            "a.__proto__",
            "a.constructor",
            "[0]",
            "a[0]b",
            "a[-1]",
            &too_long,
        ];
        for name in refused {
            assert!(!valid(name), "{name}");
        }
    }
}
