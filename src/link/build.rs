//! gRPC from `.proto` with nothing installed: protox parses in Rust, so no machine needs `protoc`.

use std::error::Error;

const PROTOS: [&str; 2] = ["config.proto", "media.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    for proto in PROTOS {
        println!("cargo::rerun-if-changed={proto}");
    }
    let descriptors = protox::compile(PROTOS, ["."])?;
    tonic_prost_build::configure()
        // Sections are large and shared: a clone of `bytes::Bytes` is a count.
        .bytes(".")
        // A message that holds a secret or a pod's words prints through the types of `config`, never by itself.
        .skip_debug(["."])
        .compile_fds(descriptors)?;
    Ok(())
}
