//! The order of the modules of `xtask`.

use crate::layers::order::List;

pub(super) const ORDER: &[List<'static>] = &[
    ("xtask", &["layers", "licences", "promises", "rows"]),
    ("xtask::layers", &["modules", "boundary", "imports", "circles", "order", "table"]),
    (
        "xtask::layers::table",
        &[
            "compiler",
            "dataplane",
            "fuzz_targets",
            "ir",
            "jose",
            "moongate",
            "resources",
            "routing",
            "sources",
            "testkit",
            "text",
            "upstream",
            "wire",
            "xtask",
        ],
    ),
];
