//! "Did you mean": the nearest of the names that are allowed.

/// How alike two names must be (Jaro–Winkler, 0 to 1) for one to be taken for the other.
const ALIKE: f64 = 0.75;

/// The name among those that serde's message expected which is nearest to the one it did not know.
pub(super) fn for_message(message: &str) -> Option<String> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    let unknown_something =
        message.contains("unknown field") || message.contains("unknown variant");
    if !unknown_something {
        return None;
    }
    nearest(unknown, quoted)
}

/// The one of `names` that is nearest to `name`, if any is near.
pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    names
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested() {
        let message = "unknown field `buget`, expected one of `dir`, `budget`, `ring`";
        assert_eq!(for_message(message).as_deref(), Some("budget"));
        assert_eq!(for_message("unknown field `zzz`, expected `dir`"), None);
        assert_eq!(for_message("invalid type: integer `3`, expected a string"), None);
    }
}
