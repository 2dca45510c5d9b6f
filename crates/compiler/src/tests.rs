//! Tests of the whole compilation, each named after the row that it holds.

mod example;
mod incremental;
mod world;
