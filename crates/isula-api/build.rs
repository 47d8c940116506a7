//! Compiles the `.proto` files below `api/` in pure Rust: no `protoc` is needed on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../api");
    println!("cargo::rerun-if-changed={root}");
    let files =
        ["containers", "images", "storage", "system"].map(|name| format!("isula/v1/{name}.proto"));
    let descriptors = protox::compile(&files, [root])?;
    tonic_prost_build::configure().build_transport(false).bytes(".").compile_fds(descriptors)?;
    if std::env::var_os("CARGO_FEATURE_CRI").is_some() {
        // Its comments are not written for rustdoc, which takes indented lines for code to test.
        let mut descriptors = protox::compile(["runtime/v1/api.proto"], [root])?;
        for file in &mut descriptors.file {
            file.source_code_info = None;
        }
        tonic_prost_build::configure()
            .build_transport(false)
            .bytes(".")
            .compile_fds(descriptors)?;
    }
    Ok(())
}
