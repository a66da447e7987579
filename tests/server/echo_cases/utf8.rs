//! 6: UTF-8.

use super::script;
use super::script::{Case, End, INVALID_UTF8, Step, alive, echoed, normal, text_case};
use crate::support::socket::{FIN, TEXT, frame};

const MESSAGE: &str = "Hello-µ@ßöäüàá-UTF-8!!";
const GREEK: &[u8] = "κόσμε".as_bytes();

/// The texts of Markus Kuhn's stress test in hexadecimal, as 6.5 to 6.23 send them: texts with a plus come back, texts
/// with a minus are not valid UTF-8.
const SEQUENCES: [(&str, &str); 19] = [
    // some valid UTF-8 sequences
    (
        "6.5",
        "+68656c6c6f24776f726c64 +68656c6c6fc2a2776f726c64 +68656c6c6fe282ac776f726c64 \
      +68656c6c6ff0a4ada2776f726c64 +cebae1bdb9cf83cebcceb5",
    ),
    // all prefixes of a valid UTF-8 string that contains multi-byte code points
    (
        "6.6",
        "-ce +ceba -cebae1 -cebae1bd +cebae1bdb9 -cebae1bdb9cf +cebae1bdb9cf83 -cebae1bdb9cf83ce \
      +cebae1bdb9cf83cebc -cebae1bdb9cf83cebcce +cebae1bdb9cf83cebcceb5",
    ),
    // first possible sequence of a certain length
    ("6.7", "+00 +c280 +e0a080 +f0908080"),
    // first possible sequences of 5 and 6 bytes, which are not valid characters
    ("6.8", "-f888808080 -fc8480808080"),
    // last possible sequence of a certain length
    ("6.9", "+7f +dfbf +efbfbf +f48fbfbf"),
    // last possible sequences of 4, 5 and 6 bytes, which are not valid characters
    ("6.10", "-f7bfbfbf -fbbfbfbfbf -fdbfbfbfbfbf"),
    // other boundary conditions
    ("6.11", "+ed9fbf +ee8080 +efbfbd +f48fbfbf -f4908080"),
    // unexpected continuation bytes
    (
        "6.12",
        "-80 -bf -80bf -80bf80 -80bf80bf -80bf80bf80 -80bf80bf80bf \
      -808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbe",
    ),
    // start characters without continuation bytes
    (
        "6.13",
        "-c020c120c220c320c420c520c620c720c820c920ca20cb20cc20cd20ce20cf20d020d120d220d320d420d520d620d720d820d920da20db20dc20dd20de20 \
      -e020e120e220e320e420e520e620e720e820e920ea20eb20ec20ed20ee20 -f020f120f220f320f420f520f620 \
      -f820f920fa20 -fc20",
    ),
    // sequences with last continuation byte missing
    ("6.14", "-c0 -e080 -f08080 -f8808080 -fc80808080 -df -efbf -f7bfbf -fbbfbfbf -fdbfbfbfbf"),
    // concatenation of incomplete sequences
    ("6.15", "-c0e080f08080f8808080fc80808080dfefbff7bfbffbbfbfbffdbfbfbfbf"),
    // impossible bytes
    ("6.16", "-fe -ff -fefeffff"),
    // examples of an overlong ASCII character
    ("6.17", "-c0af -e080af -f08080af -f8808080af -fc80808080af"),
    // maximum overlong sequences
    ("6.18", "-c1bf -e09fbf -f08fbfbf -f887bfbfbf -fc83bfbfbfbf"),
    // overlong representation of the NUL character
    ("6.19", "-c080 -e08080 -f0808080 -f880808080 -fc8080808080"),
    // single UTF-16 surrogates
    ("6.20", "-eda080 -edadbf -edae80 -edafbf -edb080 -edbe80 -edbfbf"),
    // paired UTF-16 surrogates
    (
        "6.21",
        "-eda080edb080 -eda080edbfbf -edadbfedb080 -edadbfedbfbf -edae80edb080 -edae80edbfbf \
      -edafbfedb080 -edafbfedbfbf",
    ),
    // non-character code points (valid UTF-8)
    (
        "6.22",
        "+efbfbe +efbfbf +f09fbfbe +f09fbfbf +f0afbfbe +f0afbfbf +f0bfbfbe +f0bfbfbf +f18fbfbe +f18fbfbf \
      +f19fbfbe +f19fbfbf +f1afbfbe +f1afbfbf +f1bfbfbe +f1bfbfbf +f28fbfbe +f28fbfbf +f29fbfbe \
      +f29fbfbf +f2afbfbe +f2afbfbf +f2bfbfbe +f2bfbfbf +f38fbfbe +f38fbfbf +f39fbfbe +f39fbfbf \
      +f3afbfbe +f3afbfbf +f3bfbfbe +f3bfbfbf +f48fbfbe +f48fbfbf",
    ),
    // Unicode specials (i.e. replacement char)
    ("6.23", "+efbfb9 +efbfba +efbfbb +efbfbc +efbfbd +efbfbe +efbfbf"),
];

fn refused(id: &str, steps: Vec<Step>) -> Case {
    Case { id: id.to_owned(), steps, end: End::Server(INVALID_UTF8) }
}

pub fn cases() -> Vec<Case> {
    [with_empty_fragments(), valid(), invalid(), fail_fast(), sequences()].into_iter().flatten().collect()
}

fn with_empty_fragments() -> Vec<Case> {
    let three = |middle: &[u8]| [frame(TEXT, b""), frame(0, middle), frame(FIN, b"")].concat();
    let middle = b"middle frame payload";
    vec![
        text_case("6.1.1", b"", vec![Step::Send(frame(FIN | TEXT, b""))]),
        text_case("6.1.2", b"", vec![Step::Send(three(b""))]),
        text_case("6.1.3", middle, vec![Step::Send(three(middle))]),
    ]
}

fn valid() -> Vec<Case> {
    let message = MESSAGE.as_bytes();
    let (head, tail) = MESSAGE.split_once('ü').map_or(("", ""), |(head, tail)| (head, tail));
    let two = [frame(TEXT, head.as_bytes()), frame(FIN, ["ü", tail].concat().as_bytes())].concat();
    vec![
        text_case("6.2.1", message, vec![Step::Send(frame(FIN | TEXT, message))]),
        text_case("6.2.2", message, vec![Step::Send(two)]),
        text_case("6.2.3", message, vec![Step::Send(script::fragments(TEXT, message, 1))]),
        text_case("6.2.4", GREEK, vec![Step::Send(script::fragments(TEXT, GREEK, 1))]),
    ]
}

fn invalid() -> Vec<Case> {
    let broken = [GREEK, b"\xed\xa0\x80", b"edited"].concat();
    vec![
        refused("6.3.1", vec![Step::Send(frame(FIN | TEXT, &broken))]),
        refused("6.3.2", vec![Step::Send(script::fragments(TEXT, &broken, 1))]),
    ]
}

/// The server refuses as soon as the text can no longer become valid UTF-8: the client never sends the rest.
fn fail_fast() -> Vec<Case> {
    let broken = [GREEK, b"\xf4\x90\x80\x80", b"edited"].concat();
    // The last byte of the valid part, and the first byte after which the text cannot become valid.
    let cuts = [("1", "3", GREEK.len(), GREEK.len() + 4), ("2", "4", GREEK.len() + 1, GREEK.len() + 2)];
    let mut cases = Vec::new();
    for (frames, chops, good, bad) in cuts {
        let mut steps = vec![Step::Send(frame(TEXT, &broken[..good]))];
        steps.extend(alive());
        steps.push(Step::Send(frame(0, &broken[good..bad])));
        cases.push(refused(&format!("6.4.{frames}"), steps));
        // The same within one frame, whose end is never sent.
        let whole = frame(FIN | TEXT, &broken);
        let start = whole.len() - broken.len();
        let (first, second) = (&whole[..start + good], &whole[start + good..start + bad]);
        let steps = vec![Step::Send(first.to_vec()), Step::Send(second.to_vec())];
        cases.push(refused(&format!("6.4.{chops}"), steps));
    }
    cases
}

fn sequences() -> Vec<Case> {
    let mut cases = Vec::new();
    for (group, texts) in SEQUENCES {
        for (index, text) in texts.split(' ').enumerate() {
            let id = format!("{group}.{}", index + 1);
            let (is_good, bytes) = (text.starts_with('+'), bytes(&text[1..]));
            let mut steps = vec![Step::Send(frame(FIN | TEXT, &bytes))];
            if is_good {
                steps.push(echoed(TEXT, &bytes));
                cases.push(Case { id, steps, end: normal() });
            } else {
                cases.push(refused(&id, steps));
            }
        }
    }
    cases
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hexadecimal[at..at + 2], 16).expect("hexadecimal");
    (0..hexadecimal.len()).step_by(2).map(digit).collect()
}
