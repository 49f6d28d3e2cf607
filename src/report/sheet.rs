//! Facts under headings, for people and for programs: both forms come from one list.

use std::fmt;

use serde_json::{Map, Value};

/// Facts under headings. As text, a label and a few words each, in columns; as JSON, an object of
/// objects in which what is absent is `null`.
#[derive(Clone, Debug, Default)]
pub struct Sheet {
    sections: Vec<Section>,
}

#[derive(Clone, Debug)]
struct Section {
    heading: String,
    key: &'static str,
    /// What stands, for people, in the place of a fact that is not there.
    absent: &'static str,
    facts: Vec<Fact>,
}

#[derive(Clone, Debug)]
struct Fact {
    key: &'static str,
    label: &'static str,
    words: Option<String>,
    value: Value,
}

impl Sheet {
    /// A sheet without facts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a section: its heading for people, its key for programs, and the words for people in
    /// the place of facts that are not there.
    pub fn section(&mut self, key: &'static str, heading: impl Into<String>, absent: &'static str) {
        self.sections.push(Section { heading: heading.into(), key, absent, facts: Vec::new() });
    }

    /// Adds a fact to the section: key for programs, label and words for people.
    ///
    /// # Panics
    ///
    /// Before the first section.
    pub fn fact(
        &mut self,
        (key, label): (&'static str, &'static str),
        words: impl Into<String>,
        value: impl Into<Value>,
    ) {
        self.push(Fact { key, label, words: Some(words.into()), value: value.into() });
    }

    /// Adds a fact that is absent when `value` is `None`; `words` says it to people.
    ///
    /// # Panics
    ///
    /// Before the first section.
    pub fn maybe<T: Into<Value> + Clone>(
        &mut self,
        (key, label): (&'static str, &'static str),
        value: Option<T>,
        words: impl FnOnce(T) -> String,
    ) {
        let words = value.clone().map(words);
        self.push(Fact { key, label, words, value: value.map_or(Value::Null, Into::into) });
    }

    /// Adds a fact for programs alone: people read it among another's words.
    ///
    /// # Panics
    ///
    /// Before the first section.
    pub fn aside(&mut self, key: &'static str, value: impl Into<Value>) {
        self.push(Fact { key, label: "", words: None, value: value.into() });
    }

    fn push(&mut self, fact: Fact) {
        self.sections.last_mut().expect("a section was begun").facts.push(fact);
    }

    /// The facts for a program.
    pub fn value(&self) -> Map<String, Value> {
        let sections = self.sections.iter().map(|section| {
            let facts = section.facts.iter().map(|fact| (fact.key.to_owned(), fact.value.clone()));
            (section.key.to_owned(), Value::Object(facts.collect()))
        });
        sections.collect()
    }
}

impl fmt::Display for Sheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = self.sections.iter().flat_map(|section| &section.facts);
        let width = facts.map(|fact| fact.label.len()).max().unwrap_or(0);
        for (number, section) in self.sections.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            writeln!(f, "{}", section.heading)?;
            for fact in section.facts.iter().filter(|fact| !fact.label.is_empty()) {
                let words = fact.words.as_deref().unwrap_or(section.absent);
                writeln!(f, "  {:width$}  {words}", fact.label)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_programs_get_the_same_facts() {
        let mut sheet = Sheet::new();
        sheet.section("drive", "drive one", "absent");
        sheet.fact(("serial", "serial"), "X1", "X1");
        sheet.maybe(("loads", "loads in its life"), Some(12_u64), |loads| format!("{loads}"));
        sheet.aside("rate", 1.5);
        sheet.section("cartridge", "cartridge", "not told");
        sheet.maybe(("metres", "metres"), None::<u64>, |metres| metres.to_string());
        assert_eq!(
            sheet.to_string(),
            "drive one\n  serial             X1\n  loads in its life  12\n\ncartridge\n  \
             metres             not told\n"
        );
        let value = Value::Object(sheet.value());
        assert_eq!(
            value,
            serde_json::json!({
                "drive": { "serial": "X1", "loads": 12, "rate": 1.5 },
                "cartridge": { "metres": null },
            })
        );
    }
}
