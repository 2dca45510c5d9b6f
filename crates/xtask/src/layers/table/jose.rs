//! The order of the modules of `jose`.

use crate::layers::order::List;

pub(super) const ORDER: &[List<'static>] = &[("jose", &["failure", "json", "token", "key", "keys"])];
