//! Files: where records begin, and what is wrong with bytes.

use burn::data::dataset::Dataset;
use qwen3_vl_train::data::{Conversations, DataError, Problem, ReadOptions};

use crate::setup::{Folder, problem};

const GOOD: &str = r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}"#;

/// Line and number of each record that is sound, the problem of the others.
fn list(data: &Conversations) -> Vec<Result<(usize, usize), String>> {
    let entry = |index| match data.get(index).unwrap() {
        Ok(record) => Ok((record.source.line, record.source.record)),
        Err(DataError::Record { problem, .. }) => Err(problem.to_string()),
        Err(other) => panic!("{other}"),
    };
    (0..data.len()).map(entry).collect()
}

#[test]
fn lines_are_records() {
    let folder = Folder::new();
    let lines = list(&folder.open(format!("{GOOD}\n\n  \t{GOOD} \r\n{GOOD}")).unwrap());
    assert_eq!(lines, [Ok((1, 1)), Ok((3, 3)), Ok((4, 4))]);
    // A byte order mark, and blank lines first.
    let marked = folder.open(format!("\u{feff}\n{GOOD}\n")).unwrap();
    assert_eq!(list(&marked), [Ok((2, 2))]);
    assert!(marked.get(1).is_none());
}

#[test]
fn elements_are_records() {
    let folder = Folder::new();
    for text in [
        format!("[{GOOD},{GOOD}]"),
        format!("\u{feff} [ {GOOD} , {GOOD} ] \n"),
        // Strings may hold whatever ends records outside of them.
        format!("[{GOOD},{}]", GOOD.replace("\"b\"", r#""]}, [\" \\""#)),
    ] {
        assert_eq!(list(&folder.open(text).unwrap()), [Ok((1, 1)), Ok((1, 2))]);
    }
    let data = folder.open(format!("[\n{GOOD},\n\n{}]", GOOD.replace(", ", ",\n  "))).unwrap();
    assert_eq!(list(&data), [Ok((2, 1)), Ok((4, 2))]);
}

#[test]
fn files_follow_each_other() {
    let folder = Folder::new();
    let paths = [folder.write("one", format!("{GOOD}\n{GOOD}")), folder.write("two", format!("[{GOOD}]"))];
    let data = Conversations::open(&paths, &ReadOptions::default()).unwrap();
    assert_eq!(list(&data), [Ok((1, 1)), Ok((2, 2)), Ok((1, 1))]);
    let file = |index: usize| data.get(index).unwrap().unwrap().source.file;
    assert_eq!((&*file(1), &*file(2)), (&paths[0], &paths[1]));
    assert_eq!(data.get(2).unwrap().unwrap().source.to_string(), format!("{}:1", paths[1].display()));
    assert!(data.get(3).is_none() && data.get(usize::MAX).is_none());

    let swapped = Conversations::open(&[&paths[1], &paths[0]], &ReadOptions::default()).unwrap();
    assert_ne!(data.fingerprint(), swapped.fingerprint());
    assert_eq!(data.fingerprint(), Conversations::open(&paths, &ReadOptions::default()).unwrap().fingerprint());
}

#[test]
fn a_bad_record_spoils_no_other() {
    let folder = Folder::new();
    let bad = [
        ("{\"messages\": [}", 15, "expected value"),
        ("{\"a\": 1} trailing", 10, "trailing characters"),
        ("{\"a\": NaN}", 7, "NaN is no number in JSON"),
        ("{\"a\": [1, -Infinity]}", 11, "Infinity is no number in JSON"),
        ("{\"a\": 1e999}", 11, "number out of range"),
        ("{\"a\": 1, \"b\": {\"c\": 1, \"c\": 2}}", 26, "the key `c` stands twice"),
        ("{\"a\": \"\u{1}\"}", 8, "control character"),
        ("{\"a\": \"\\ud800\"}", 14, "hex escape"),
    ];
    for (line, column, reason) in bad {
        for (text, at) in [(format!("{GOOD}\n{line}\n{GOOD}"), 0), (format!("[{GOOD},\n  {line}, {GOOD}]"), 2)] {
            if text.starts_with('[') && line.contains("[}") {
                continue; // brackets that don't match end the array
            }
            let data = folder.open(text).unwrap();
            assert_eq!(data.len(), 3, "{line}");
            assert!(data.get(0).unwrap().is_ok() && data.get(2).unwrap().is_ok());
            match problem(data.get(1).unwrap()) {
                Problem::Json { line: 2, column: found, reason: said } => {
                    assert!(said.contains(reason), "{line}: {said}");
                    assert!(found.abs_diff(column + at) <= 2, "{line}: {found}");
                }
                other => panic!("{line}: {other}"),
            }
        }
    }
    let over_lines = folder.open("{\n \"messages\": []\n}").unwrap();
    let found = problem(over_lines.get(0).unwrap()).to_string();
    assert_eq!(
        found,
        "line 1, column 1: EOF while parsing an object; a file that begins with a brace has one record a line"
    );
    let latin = [GOOD.as_bytes(), b"\n{\"a\": \"caf\xe9\"}\n", GOOD.as_bytes()].concat();
    let data = folder.open(latin).unwrap();
    assert!(matches!(problem(data.get(1).unwrap()), Problem::Utf8 { byte: 10 }));
    assert!(data.get(2).unwrap().is_ok());
}

#[test]
fn nesting_without_end() {
    let folder = Folder::new();
    for depth in [200, 200_000] {
        let deep = format!("{{\"a\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
        for text in [format!("{deep}\n{GOOD}"), format!("[{deep},{GOOD}]")] {
            let data = folder.open(text).unwrap();
            let found = problem(data.get(0).unwrap());
            assert!(matches!(&found, Problem::Json { reason, .. } if reason.contains("recursion")), "{found}");
            assert!(data.get(1).unwrap().is_ok());
        }
    }
}

#[test]
fn large_records_are_not_read() {
    let folder = Folder::new();
    let path = folder.write("data", format!("{GOOD}\n{{\"a\": \"{}\"}}\n{GOOD}", "x".repeat(1000)));
    let options = ReadOptions { max_record_bytes: GOOD.len() as u64, ..Default::default() };
    let data = Conversations::open(&[path], &options).unwrap();
    assert!(
        matches!(problem(data.get(1).unwrap()), Problem::TooLarge { bytes: 1009, max_bytes } if max_bytes == GOOD.len() as u64)
    );
    assert!(data.get(0).unwrap().is_ok() && data.get(2).unwrap().is_ok());
}

#[test]
fn files_that_are_none() {
    let folder = Folder::new();
    let open = |contents: &[u8]| folder.open(contents).unwrap_err();
    for empty in [&b""[..], b"\n \n", b"[]", b"\xef\xbb\xbf", b" [ ] "] {
        assert!(matches!(open(empty), DataError::Empty { .. }), "{empty:?}");
    }
    for wrong in [&b"hello"[..], b"\"a\"", b"\xff\xfe{\0", b"\xfe\xff\0{", b"\xefx{", b"PK\x03\x04", b"PAR1", b"\0"] {
        assert!(matches!(open(wrong), DataError::Format { .. }), "{wrong:?}");
    }
    assert!(matches!(
        Conversations::open(&[folder.path("missing")], &ReadOptions::default()),
        Err(DataError::Read { .. })
    ));
    assert!(matches!(
        Conversations::open(&[folder.dir.path()], &ReadOptions::default()),
        Err(DataError::NotAFile { found: "a folder", .. })
    ));
    assert!(matches!(Conversations::open(&[""; 0], &ReadOptions::default()), Err(DataError::Empty { .. })));
}

#[test]
fn arrays_that_cannot_be_taken_apart() {
    let folder = Folder::new();
    for (text, line, column, reason) in [
        (format!("[{GOOD}"), 1, 2, "the file ends inside this record"),
        (format!("[{GOOD},"), 1, GOOD.len() + 3, "the array is not closed"),
        ("[".to_owned(), 1, 2, "the array is not closed"),
        (format!("[{GOOD},\n,{GOOD}]"), 2, 1, "a record is expected, found a comma"),
        ("[,]".to_owned(), 1, 2, "a record is expected, found a comma"),
        (format!("[{GOOD},\n]"), 2, 1, "a record is expected after the comma"),
        (format!("[{GOOD}]\n{GOOD}"), 2, 1, "something follows the array"),
        ("[}".to_owned(), 1, 2, "a brace closes"),
        (format!("[{GOOD},\n {{\"a\": \"b}}, {GOOD}"), 2, 2, "the file ends inside"),
    ] {
        match folder.open(&text).unwrap_err() {
            DataError::Array { line: l, column: c, reason: r, .. } => {
                assert!((l, c) == (line, column) && r.starts_with(reason), "{text}: {l}:{c}: {r}");
            }
            other => panic!("{text}: {other}"),
        }
    }
}

#[test]
fn a_file_that_changes_is_noticed() {
    let folder = Folder::new();
    let data = folder.open(format!("{GOOD}\n{GOOD}")).unwrap();
    assert!(data.get(1).unwrap().is_ok());
    folder.write("data", GOOD);
    assert!(matches!(data.get(1).unwrap(), Err(DataError::Changed { .. })));
    assert!(matches!(data.get(0).unwrap(), Err(DataError::Changed { .. })));
}

/// Pieces of a file end anywhere: in strings, escapes, between records.
#[test]
fn many_records_over_many_pieces() {
    let folder = Folder::new();
    let record = |n: usize| GOOD.replace("\"b\"", &format!("\"\\\"{n}\\\\ {}\"", "é]".repeat(n % 97)));
    let count = 3000;
    let all: Vec<String> = (0..count).map(record).collect();
    for text in [all.join("\n"), format!("[{}]", all.join(", "))] {
        assert!(text.len() > 4 << 16);
        let data = folder.open(text).unwrap();
        assert_eq!(data.len(), count);
        for n in 0..count {
            let answer = data.get(n).unwrap().unwrap().messages[1].content[0].clone();
            let expected = format!("\"{n}\\ {}", "é]".repeat(n % 97));
            assert_eq!(answer, qwen3_vl_burn::prompt::Content::text(expected));
        }
    }
}
