//! What the store promises, on every schema, and by a program of an older schema in a file of a newer one.

mod support;

/// The same cases for a file of one schema and a program of this or an older one.
macro_rules! layout {
    ($name:ident, $file:ident, $program:ident) => {
        mod $name {
            #[allow(unused_imports, reason = "each file of cases uses its own part")]
            mod layout {
                pub fn open(path: &std::path::Path) -> mail_store::Store {
                    super::super::support::open(path, mail_store::Schema::$file, mail_store::Schema::$program)
                }
            }
            mod journal_and_remote {
                use super::layout::open;
                include!("journal_and_remote.rs");
            }
            mod outbox {
                use super::layout::open;
                include!("outbox.rs");
            }
        }
    };
}

layout!(schema_1, One, One);
layout!(schema_2, Two, Two);
layout!(schema_3, Three, Three);
layout!(schema_2_used_by_7_1, Two, One);
layout!(schema_3_used_by_7_1, Three, One);
layout!(schema_3_used_by_7_2, Three, Two);
