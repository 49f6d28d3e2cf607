//! What a person or a program gets to read: progress, tables, JSON events.
//!
//! Nothing outside `report` and `cli` prints.

mod holes;
mod json;
mod lines;
mod progress;
mod sheet;
mod table;
mod text;

pub use json::Json;
pub use lines::sentence;
pub use sheet::Sheet;
pub use table::Table;
pub use text::Text;
