//! The order of the modules of `sources`.

use crate::layers::order::List;

pub(super) const ORDER: &[List<'static>] = &[
    (
        "sources",
        &[
            "folder",
            "load_error",
            "inotify",
            "listing",
            "findings",
            "document",
            "inventory",
            "route",
            "settle",
            "named",
            "stream",
            "mesh",
            "event",
            "source",
            "reload",
            "collector",
            "files",
            "reader",
            "file_source",
            "kubernetes",
            "watch",
        ],
    ),
    (
        "sources::kubernetes",
        &[
            "watched",
            "access",
            "follow",
            "references",
            "held",
            "fetch",
            "lease",
            "published",
            "status",
            "wanted",
            "findings",
            "state",
            "writer",
        ],
    ),
];
