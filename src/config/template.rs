//! Config files that tapevault writes itself.

use std::path::Path;

/// A config with every setting, its meaning beside it, for `init`.
pub fn commented() -> &'static str {
    include_str!("commented.toml")
}

/// The config of a rehearsal that archives `source`; paths are relative to its own folder.
pub fn rehearsal(source: &Path) -> String {
    let source = toml::Value::String(source.to_string_lossy().into_owned());
    format!(
        r#"# A rehearsal: an emulated library with one drive, all in this folder.

[catalog]
path = "catalog.sqlite"
rehearsal = true

[staging]
dir = "staging"
budget = "2 GiB"
ring = "16 MiB"

[emulator]
dir = "."

[library]
changer = "emulated"

[drives.drive0]
device = "emulated:0"

[pools.rehearsal]
label_blank = true

[sources.files]
type = "directory"
path = {source}

[jobs.rehearsal]
sources = ["files"]
pool = "rehearsal"
"#
    )
}
