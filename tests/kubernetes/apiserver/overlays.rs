//! The overlays of `examples/gitops`, rendered by kubectl itself.

use std::process::Command;

use super::control_plane::{control_plane, repository};

#[test]
fn the_overlays_render_to_what_the_other_tests_check() {
    let render = repository().join("tests/gitops/render");
    let output = Command::new(render).env("KUBECTL", control_plane().path_of_kubectl()).output().unwrap();
    let told = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&told));
}
