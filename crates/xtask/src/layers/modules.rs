//! The modules of one crate as a tree, with the names that each defines, imports and mentions.
//!
//! Files are parsed with `syn`; nothing is expanded. What only tests have (`#[cfg(test)]`) is left out.

use anyhow::{Context, Result, bail};
use proc_macro2::{TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, Meta, UseTree};

/// One module, in a file of its own or inline.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// `None` for the root of the crate.
    pub(super) parent: Option<usize>,
    /// The module whose file holds this one: itself, unless it is inline.
    pub(super) node: usize,
    /// `crate::module::module`, with the name of the crate.
    pub(super) name: String,
    /// The file.
    pub(super) file: PathBuf,
    /// Modules declared here, by name.
    pub(super) children: BTreeMap<String, usize>,
    /// Items defined here.
    pub(super) defined: BTreeSet<String>,
    /// Names that `use` brings in, and the path of each.
    pub(super) imported: BTreeMap<String, Vec<String>>,
    /// Paths of `use …::*`.
    pub(super) globs: Vec<Vec<String>>,
    /// Every path that the code has.
    pub(super) mentions: Vec<Mention>,
}

/// A path in the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mention {
    /// Its segments, without generic arguments.
    pub(super) path: Vec<String>,
    /// Whether it is `path::*`, which takes all that a module has.
    pub(super) glob: bool,
    /// The line, from 1.
    pub(super) line: usize,
}

/// Reads the text of a file; `None` if there is no such file.
pub(super) type ReadFile<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// The tree of modules below the root file of a crate. The root is module 0.
///
/// # Errors
/// A file that does not exist or does not parse, and `#[path]`, which is not supported.
pub(super) fn load(krate: &str, root: &Path, read: ReadFile<'_>) -> Result<Vec<Module>> {
    let mut loader = Loader { modules: Vec::new(), read };
    let folder = root.parent().unwrap_or(Path::new(""));
    loader.file(None, krate.to_owned(), root, folder)?;
    Ok(loader.modules)
}

struct Loader<'a> {
    modules: Vec<Module>,
    read: ReadFile<'a>,
}

impl Loader<'_> {
    /// Adds the module of a file. Files of its children are in `folder`.
    fn file(&mut self, parent: Option<usize>, name: String, file: &Path, folder: &Path) -> Result<usize> {
        let text = (self.read)(file).with_context(|| format!("cannot read {}", file.display()))?;
        let parsed = syn::parse_file(&text)
            .map_err(|error| anyhow::anyhow!("{}:{}: {error}", file.display(), error.span().start().line))?;
        let node = self.modules.len();
        self.module(Module { parent, node, name, file: file.to_owned(), ..Module::default() }, &parsed.items, folder)
    }

    fn module(&mut self, module: Module, items: &[Item], folder: &Path) -> Result<usize> {
        let (id, node, name, file) = (self.modules.len(), module.node, module.name.clone(), module.file.clone());
        let mut collector = Collector { module };
        items.iter().for_each(|item| collector.define(item));
        items.iter().for_each(|item| collector.visit_item(item));
        self.modules.push(collector.module);
        for item in items {
            let Item::Mod(child) = item else { continue };
            if only_in_tests(&child.attrs) {
                continue;
            }
            if child.attrs.iter().any(|attribute| attribute.path().is_ident("path")) {
                bail!("{}: `#[path]` on a module is not supported by `cargo xtask layers`", file.display());
            }
            let ident = plain(&child.ident);
            let (full, below) = (format!("{name}::{ident}"), folder.join(&ident));
            let added = match &child.content {
                Some((_, items)) => {
                    let inline = Module { parent: Some(id), node, name: full, file: file.clone(), ..Module::default() };
                    self.module(inline, items, &below)?
                }
                None => {
                    let (flat, nested) = (folder.join(format!("{ident}.rs")), below.join("mod.rs"));
                    let path = if (self.read)(&flat).is_some() { flat } else { nested };
                    self.file(Some(id), full, &path, &below)?
                }
            };
            self.modules[id].children.insert(ident, added);
        }
        Ok(id)
    }
}

/// Collects names and paths of one module; its child modules are the loader's.
struct Collector {
    module: Module,
}

impl Collector {
    fn define(&mut self, item: &Item) {
        let ident = match item {
            Item::Const(item) => &item.ident,
            Item::Enum(item) => &item.ident,
            Item::Fn(item) => &item.sig.ident,
            Item::Macro(item) => match &item.ident {
                Some(ident) => ident,
                None => return,
            },
            Item::Static(item) => &item.ident,
            Item::Struct(item) => &item.ident,
            Item::Trait(item) => &item.ident,
            Item::TraitAlias(item) => &item.ident,
            Item::Type(item) => &item.ident,
            Item::Union(item) => &item.ident,
            _ => return,
        };
        if !only_in_tests(attributes(item)) {
            self.module.defined.insert(plain(ident));
        }
    }

    fn mention(&mut self, path: Vec<String>, glob: bool, line: usize) {
        if path.len() > 1 || glob {
            self.module.mentions.push(Mention { path, glob, line });
        }
    }

    /// Takes a `use` tree that stands behind `prefix`.
    fn import(&mut self, prefix: &[String], tree: &UseTree) {
        let with = |ident: &proc_macro2::Ident| {
            let mut path = prefix.to_vec();
            // `a::{self}` names `a`.
            if ident != "self" || path.is_empty() {
                path.push(plain(ident));
            }
            path
        };
        match tree {
            UseTree::Path(tree) => self.import(&with(&tree.ident), &tree.tree),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(prefix, tree)),
            UseTree::Name(name) => {
                let path = with(&name.ident);
                let alias = path.last().cloned().unwrap_or_default();
                self.bind(alias, path, name.ident.span().start().line);
            }
            UseTree::Rename(name) => {
                let path = with(&name.ident);
                self.bind(plain(&name.rename), path, name.ident.span().start().line);
            }
            UseTree::Glob(glob) => {
                let line = glob.star_token.spans[0].start().line;
                self.module.globs.push(prefix.to_vec());
                self.mention(prefix.to_vec(), true, line);
            }
        }
    }

    fn bind(&mut self, alias: String, path: Vec<String>, line: usize) {
        if alias != "_" && path != [alias.as_str()] {
            self.module.imported.entry(alias).or_insert_with(|| path.clone());
        }
        self.mention(path, false, line);
    }

    /// Finds paths in the tokens of a macro or an attribute: `a::b`, and `a::{b, c}`.
    fn tokens(&mut self, tokens: &TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let (mut line, mut colons) = (0, 0);
        for token in tokens.clone() {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.mention(std::mem::take(&mut path), false, line);
                        line = ident.span().start().line;
                    }
                    // A path that begins with `::` or follows a generic argument is not one of this crate.
                    if colons == 2 && path.is_empty() {
                        path.push("::".to_owned());
                    }
                    path.push(plain(&ident));
                }
                TokenTree::Group(group) => {
                    let prefix = std::mem::take(&mut path);
                    let braces: syn::Result<UseTree> = match (colons == 2, group.delimiter()) {
                        (true, proc_macro2::Delimiter::Brace) => {
                            syn::parse2(TokenStream::from(TokenTree::Group(group.clone())))
                        }
                        _ => Err(syn::Error::new(group.span(), "no list of imports")),
                    };
                    match braces {
                        Ok(tree) => self.import(&prefix, &tree),
                        Err(_) => {
                            self.mention(prefix, false, line);
                            self.tokens(&group.stream());
                        }
                    }
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => self.mention(std::mem::take(&mut path), false, line),
            }
            colons = 0;
        }
        self.mention(path, false, line);
    }

    /// Finds paths in the strings of an attribute, as in `#[serde(with = "super::texts")]`.
    fn strings(&mut self, tokens: &TokenStream) {
        for token in tokens.clone() {
            match token {
                TokenTree::Group(group) => self.strings(&group.stream()),
                TokenTree::Literal(literal) => {
                    let line = literal.span().start().line;
                    let Ok(text) = syn::parse2::<syn::LitStr>(TokenStream::from(TokenTree::Literal(literal))) else {
                        continue;
                    };
                    if let Ok(path) = syn::parse_str::<syn::Path>(&text.value()) {
                        self.mention(segments(&path), false, line);
                    }
                }
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item(&mut self, item: &'ast Item) {
        if !only_in_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !only_in_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if !only_in_tests(&field.attrs) {
            visit::visit_field(self, field);
        }
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        if !only_in_tests(&local.attrs) {
            visit::visit_local(self, local);
        }
    }

    fn visit_item_mod(&mut self, _: &'ast syn::ItemMod) {}

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if item.leading_colon.is_none() {
            self.import(&[], &item.tree);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none()
            && let Some(first) = path.segments.first()
        {
            self.mention(segments(path), false, first.ident.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, invocation: &'ast syn::Macro) {
        self.visit_path(&invocation.path);
        self.tokens(&invocation.tokens);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.tokens(&list.tokens);
            self.strings(&list.tokens);
        }
    }
}

fn segments(path: &syn::Path) -> Vec<String> {
    path.segments.iter().map(|segment| plain(&segment.ident)).collect()
}

/// An identifier without `r#`.
fn plain(ident: &proc_macro2::Ident) -> String {
    let text = ident.to_string();
    text.strip_prefix("r#").map(str::to_owned).unwrap_or(text)
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether a `#[cfg(…)]` leaves an item out of all builds but those of tests.
fn only_in_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            syn::parse2::<Meta>(list.tokens.clone()).is_ok_and(|meta| needs_test(&meta))
        }
        _ => false,
    })
}

fn needs_test(condition: &Meta) -> bool {
    let Meta::List(list) = condition else { return condition.path().is_ident("test") };
    let parse = syn::punctuated::Punctuated::<Meta, syn::Token![,]>::parse_terminated;
    let Ok(parts) = list.parse_args_with(parse) else { return false };
    if list.path.is_ident("all") {
        parts.iter().any(needs_test)
    } else {
        list.path.is_ident("any") && !parts.is_empty() && parts.iter().all(needs_test)
    }
}
