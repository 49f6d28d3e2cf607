//! Keys that are hard to archive.

/// Keys that other tools lose, merge or choke on.
pub(crate) fn hostile_keys() -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = [
        ".",
        "..",
        "a//b",
        "/a",
        "a",
        "a/",
        "a/b",
        "//",
        "/",
        "line\nbreak",
        "\u{1}\u{7f}\u{1b}[2J",
        "\u{fffd}",
        "case",
        "CASE",
        "a+b c%20d",
        "a%2Fb",
        "?query#fragment&x=1",
        "ends with space ",
        "<&>\"'",
        "\u{202e}drow",
        "e\u{301}",
        "\u{e9}",
        "..../../x",
        "\\back\\slash",
        "~tilde*()!",
    ]
    .iter()
    .map(|key| key.as_bytes().to_vec())
    .collect();
    keys.push(vec![b'k'; 1024]);
    keys.push("\u{20ac}".repeat(341).into_bytes());
    keys.sort();
    keys
}
