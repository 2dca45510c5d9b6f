//! Tests of the whole compilation, each named after the row that it holds.

mod actions;
mod authentication;
mod authorization;
mod balance;
mod binding;
mod credentials;
mod destinations;
mod example;
mod external;
mod forward;
mod gateways;
mod incremental;
mod limits;
mod matches;
mod mesh_settings;
mod nodes;
mod pods;
mod policies;
mod replanning;
mod rules;
mod secured;
mod tunnels;
mod world;
