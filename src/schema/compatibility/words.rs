//! How is a break put into words?

use serde_json::Value;

use crate::schema::compatibility::Comparison;
use crate::schema::compatibility::narrow::Types;
use crate::schema::document::Node;
use crate::schema::error::Break;

impl<'a> Comparison<'a> {
    /// Data of the narrow version may be so, and the wide one does not allow it.
    pub(super) fn may(&self, wide: &Node<'a>, keyword: &str, place: &str, what: &str) -> Break {
        let detail = format!(
            "{} may {what} in events of version {}, which version {} does not allow",
            subject(&wide.pointer),
            self.narrow_version,
            self.wide_version
        );
        self.broken(wide, keyword, place, detail)
    }

    pub(super) fn may_be_value(&self, wide: &Node<'a>, value: &Value, place: &str) -> Break {
        let mut text = value.to_string();
        if text.chars().count() > VALUE_CHARS_MAX {
            text = text.chars().take(VALUE_CHARS_MAX).chain(['…']).collect();
        }
        let keyword = ["const", "enum", "type"].into_iter().find(|keyword| wide.keyword(keyword).is_some()).unwrap_or_default();
        self.may(wide, keyword, place, &format!("be {text}"))
    }

    pub(super) fn may_lack(&self, wide: &Node<'a>, name: &str, place: &str) -> Break {
        let (narrow, wide_version) = (self.narrow_version, self.wide_version);
        let detail = if self.is_backward() {
            format!("`{name}` became required: events of version {narrow} may lack it")
        } else {
            format!("`{name}` is required by version {wide_version}: events of version {narrow} may lack it")
        };
        self.broken(wide, "required", place, detail)
    }

    /// The narrow version says nothing about what stands here.
    pub(super) fn undescribed(&self, wide: &Node<'a>, place: &str) -> Break {
        let (narrow, wide_version) = (self.narrow_version, self.wide_version);
        let detail = format!(
            "version {narrow} does not describe {}, so its events may hold anything there, which version {wide_version} does not allow; \
             give an upcast, or use compatibility none if no event does",
            subject(&wide.pointer)
        );
        self.broken(wide, "", place, detail)
    }

    /// It may well be compatible; nobody can tell.
    pub(super) fn unclear(&self, wide: &Node<'a>, keyword: &str, place: &str) -> Break {
        let detail = format!(
            "{keyword} of {} changed and cannot be shown to be compatible; use compatibility none if it is",
            subject(&wide.pointer)
        );
        self.broken(wide, keyword, place, detail)
    }

    pub(super) fn too_large(&self) -> String {
        "the schemas are too large or too deep to be compared; give an upcast, or use compatibility none if they are compatible".to_owned()
    }

    fn broken(&self, wide: &Node<'a>, keyword: &str, place: &str, detail: String) -> Break {
        // Only what the new version says has a place in it.
        let is_new = std::ptr::eq(wide.document, self.new);
        let pointer = if is_new && !keyword.is_empty() { format!("{place}/{keyword}") } else { place.to_owned() };
        Break { pointer, detail }
    }

    fn is_backward(&self) -> bool {
        self.narrow_version < self.wide_version
    }
}

/// "a string or null".
pub(super) fn type_names(types: Types) -> String {
    let names: Vec<&str> = Types::EACH.into_iter().filter(|(one, _)| one.is_within(types)).map(|(_, name)| name).collect();
    names.join(" or ")
}

/// What part of the data a schema speaks about: `lines[].price`.
fn subject(pointer: &str) -> String {
    let mut path = String::new();
    let mut steps = pointer.split('/').skip(1);
    while let Some(step) = steps.next() {
        match step {
            "properties" => {
                let name = steps.next().unwrap_or_default().replace("~1", "/").replace("~0", "~");
                let dot = if path.is_empty() { "" } else { "." };
                path = format!("{path}{dot}{name}");
            }
            "items" => path.push_str("[]"),
            "prefixItems" => path = format!("{path}[{}]", steps.next().unwrap_or_default()),
            "additionalProperties" => path.push_str(".*"),
            "$defs" | "definitions" => path = format!("({})", steps.next().unwrap_or_default()),
            "patternProperties" => path = format!("{path}.{}", steps.next().unwrap_or_default()),
            _ => {}
        }
    }
    if path.is_empty() { "the data".to_owned() } else { format!("`{path}`") }
}

/// How much of a value an answer shows. It is a value of a schema, not of an event.
const VALUE_CHARS_MAX: usize = 60;
