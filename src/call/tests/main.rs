//! The engine in a virtual world, and the cursor on tables of words.

mod cursor;
mod engine;
mod world;
