//! The XML that cloud services answer with: elements, text, no attributes that matter.

use std::borrow::Cow;

use quick_xml::{Reader, events::Event};

/// How deep the documents of any service go, with room to spare.
const DEEPEST: usize = 32;

/// A document that is not whole or not XML.
#[derive(Debug, thiserror::Error)]
pub enum XmlError {
    /// It ends before its outermost element does.
    #[error("the document ends inside <{element}>")]
    Unclosed {
        /// The innermost element that is open; empty when not even one began.
        element: String,
    },
    /// It is not UTF-8.
    #[error("the document is not UTF-8")]
    NotText(#[from] std::str::Utf8Error),
    /// It is not XML.
    #[error("the document is not XML")]
    Malformed(#[from] quick_xml::Error),
    /// It uses something that no service uses.
    #[error("the document has {what}")]
    Unexpected {
        /// What.
        what: String,
    },
}

/// Visits each element at its end, with its path from the outermost element on, separated by
/// slashes, and the text in it. An element comes after those within it, whose text is not its own.
///
/// # Errors
///
/// When the document is not XML, or ends before its outermost element does. What was visited by
/// then must not be used.
pub fn walk(document: &[u8], visit: &mut dyn FnMut(&str, &str)) -> Result<(), XmlError> {
    let mut reader = Reader::from_str(std::str::from_utf8(document)?);
    let mut open = Open::default();
    loop {
        match reader.read_event()? {
            Event::Start(start) => open.push(start.local_name().as_ref())?,
            Event::Empty(start) => {
                open.push(start.local_name().as_ref())?;
                open.pop(visit);
            }
            Event::End(_) => open.pop(visit),
            Event::Text(text) => open.text(&text.into_inner())?,
            Event::CData(data) => open.text(&data.into_inner())?,
            Event::GeneralRef(reference) => {
                let text = match reference.resolve_char_ref()? {
                    Some(c) => Cow::Owned(c.to_string()),
                    None => Cow::Borrowed(named(&reference.into_inner())?),
                };
                open.text(&text)?;
            }
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
            Event::DocType(_) => {
                return Err(XmlError::Unexpected { what: "a document type".to_owned() });
            }
            Event::Eof => return open.end(),
        }
    }
}

fn named(entity: &str) -> Result<&'static str, XmlError> {
    match entity {
        "amp" => Ok("&"),
        "lt" => Ok("<"),
        "gt" => Ok(">"),
        "quot" => Ok("\""),
        "apos" => Ok("'"),
        _ => Err(XmlError::Unexpected { what: format!("the entity {entity:?}") }),
    }
}

/// The elements that are open.
#[derive(Default)]
struct Open {
    path: String,
    /// For each, the length of `path` before it and of `texts` at its start.
    starts: Vec<(usize, usize)>,
    /// Text of the open elements, one after the other.
    texts: String,
    closed: bool,
}

impl Open {
    fn push(&mut self, name: &str) -> Result<(), XmlError> {
        if self.closed {
            return Err(XmlError::Unexpected { what: "a second outermost element".to_owned() });
        }
        if self.starts.len() == DEEPEST {
            return Err(XmlError::Unexpected { what: format!("more than {DEEPEST} levels") });
        }
        self.starts.push((self.path.len(), self.texts.len()));
        if !self.path.is_empty() {
            self.path.push('/');
        }
        self.path.push_str(name);
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), XmlError> {
        if self.starts.is_empty() {
            if text.trim_matches([' ', '\t', '\r', '\n', '\u{feff}']).is_empty() {
                return Ok(());
            }
            return Err(XmlError::Unexpected { what: "text outside its elements".to_owned() });
        }
        self.texts.push_str(text);
        Ok(())
    }

    fn pop(&mut self, visit: &mut dyn FnMut(&str, &str)) {
        let (path, text) = self.starts.pop().expect("the reader checks that ends match starts");
        visit(&self.path, &self.texts[text..]);
        self.path.truncate(path);
        self.texts.truncate(text);
        self.closed = self.starts.is_empty();
    }

    fn end(self) -> Result<(), XmlError> {
        if self.closed {
            return Ok(());
        }
        let element = self.path.rsplit('/').next().unwrap_or_default().to_owned();
        Err(XmlError::Unclosed { element })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn visited(document: &str) -> Result<Vec<String>, XmlError> {
        let mut lines = Vec::new();
        walk(document.as_bytes(), &mut |path, text| lines.push(format!("{path}={text}")))?;
        Ok(lines)
    }

    #[test]
    fn elements_come_at_their_end() {
        let document =
            "<?xml version=\"1.0\"?>\n<a xmlns=\"x\"><b> 1&amp;2&#x41;<![CDATA[<]]></b><c/></a>\n";
        assert_eq!(visited(document).unwrap(), ["a/b= 1&2A<", "a/c=", "a="]);
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        for (document, error) in [
            ("", "the document ends inside <>"),
            ("<a><b>1</b>", "the document ends inside <a>"),
            ("<a><b>1", "the document ends inside <b>"),
            ("<a/><a/>", "the document has a second outermost element"),
            ("<a/>x", "the document has text outside its elements"),
            ("<a>&nbsp;</a>", "the document has the entity \"nbsp\""),
            ("<!DOCTYPE a><a/>", "the document has a document type"),
            ("<a></b>", "the document is not XML"),
            ("</a>", "the document is not XML"),
        ] {
            assert_eq!(visited(document).unwrap_err().to_string(), error, "{document}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(walk(&bytes, &mut |_, _| {}));
        }

        #[test]
        fn no_markup_makes_it_panic(text in "[<>/&;#x0-9a-c!?\\[\\]\\- ]{0,60}") {
            drop(walk(text.as_bytes(), &mut |_, _| {}));
        }
    }
}
