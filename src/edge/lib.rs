//! The edge's shell: sockets, HTTP, and the call engines' threads.
