//! Where the values of a document are, and how keys and scalars were written there: a tree beside the value. It is made only where
//! something has to be reported, and holds no path as text, so that its size follows the document's.

/// One value.
#[derive(Debug, Default)]
pub(crate) struct Node {
    /// Line and column of its key, or of the value itself; both from 1.
    pub(crate) at: (u32, u32),
    /// The key by which its mapping has it.
    key: Box<str>,
    /// The key as it was written, where it is read as something else.
    written_key: Option<Box<str>>,
    /// A plain scalar as it was written, where it is read as a number, a boolean or null.
    written: Option<Box<str>>,
    children: Children,
}

#[derive(Debug, Default)]
enum Children {
    #[default]
    None,
    Items(Vec<Node>),
    Fields(Vec<Node>),
}

/// A key that is read as something else than what was written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OddKey {
    /// The path of its value.
    pub(crate) path: String,
    /// As it was written.
    pub(crate) written: String,
    /// As it is read.
    pub(crate) read: String,
}

impl Node {
    pub(super) fn scalar(at: (u32, u32), written: Option<Box<str>>) -> Self {
        Self { at, written, ..Self::default() }
    }

    pub(super) fn sequence(at: (u32, u32), items: Vec<Self>) -> Self {
        Self { at, children: Children::Items(items), ..Self::default() }
    }

    pub(super) fn mapping(at: (u32, u32), fields: Vec<Self>) -> Self {
        Self { at, children: Children::Fields(fields), ..Self::default() }
    }

    /// The same value as a field of a mapping, which is at its key.
    pub(super) fn named(self, key: &str, written_key: Option<Box<str>>, at: (u32, u32)) -> Self {
        Self { at, key: key.into(), written_key, ..self }
    }

    /// How the scalar was written, where it is read as a number, a boolean or null.
    pub(crate) fn written(&self) -> Option<&str> {
        self.written.as_deref()
    }

    /// How the key was written, where it is read as something else.
    pub(crate) fn written_key(&self) -> Option<&str> {
        self.written_key.as_deref()
    }

    /// The node at a path such as `spec.http[2].route`, or the nearest one around it, and whether it is the very one.
    pub(crate) fn nearest(&self, path: &str) -> (&Self, bool) {
        let (mut node, mut rest) = (self, path);
        while !rest.is_empty() {
            let Some((child, behind)) = node.child(rest) else { return (node, false) };
            (node, rest) = (child, behind);
        }
        (node, true)
    }

    /// The node at exactly this path.
    pub(crate) fn get(&self, path: &str) -> Option<&Self> {
        let (node, exact) = self.nearest(path);
        exact.then_some(node)
    }

    /// The child with which a path begins, and what of the path is behind it.
    fn child<'p>(&self, path: &'p str) -> Option<(&Self, &'p str)> {
        match &self.children {
            Children::None => None,
            Children::Items(items) => {
                let (index, behind) = path.strip_prefix('[')?.split_once(']')?;
                let item = items.get(index.parse::<usize>().ok()?)?;
                Some((item, behind.strip_prefix('.').unwrap_or(behind)))
            }
            Children::Fields(fields) => {
                let behind = |field: &Self| {
                    let rest = path.strip_prefix(&*field.key)?;
                    match rest.strip_prefix('.') {
                        Some(rest) => Some(rest),
                        None => (rest.is_empty() || rest.starts_with('[')).then_some(rest),
                    }
                };
                // Keys may have dots, so that several can be the beginning: the longest is meant.
                let found = fields.iter().filter_map(|field| Some((field, behind(field)?)));
                found.max_by_key(|(field, _)| field.key.len())
            }
        }
    }

    /// All keys below that are read as something else than what was written, with paths from here.
    pub(crate) fn odd_keys(&self) -> Vec<OddKey> {
        let mut found = Vec::new();
        self.collect_odd_keys(&mut String::new(), &mut found);
        found
    }

    fn collect_odd_keys(&self, path: &mut String, found: &mut Vec<OddKey>) {
        let (children, named) = match &self.children {
            Children::None => return,
            Children::Items(items) => (items, false),
            Children::Fields(fields) => (fields, true),
        };
        for (index, child) in children.iter().enumerate() {
            let length = path.len();
            if !named {
                path.push_str(&format!("[{index}]"));
            } else {
                if length > 0 {
                    path.push('.');
                }
                path.push_str(&child.key);
            }
            if let Some(written) = &child.written_key {
                found.push(OddKey {
                    path: path.clone(),
                    written: (**written).to_owned(),
                    read: (*child.key).to_owned(),
                });
            }
            child.collect_odd_keys(path, found);
            path.truncate(length);
        }
    }
}
