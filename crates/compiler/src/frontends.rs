//! The front ends: from the kinds of one dialect to plans that know no dialect. Each dialect is one module.

pub(crate) mod istio;
