//! A multiplayer arena on qnfsm: a game server and bots as nodes of their own on real sockets, every input recorded, the
//! server killed and recovered on the way, and in the end the whole run replayed and proved equal.
//!
//! `game` is the server's world and `bot` the bots' play and checks, both pure; they share only `wire`. `server` and
//! `bots` put them into FSMs and nodes; `demo` runs the nodes as processes, and kills and replays them.
#![forbid(unsafe_code)]

mod ask;
pub mod bot;
pub mod bots;
pub mod demo;
pub mod game;
pub mod server;
pub mod wire;
