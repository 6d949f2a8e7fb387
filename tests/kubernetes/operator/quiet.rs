//! An operator that finds the world as it should be asks for nothing.

use std::time::Duration;

use super::{
    manifests::Manifests,
    process::never,
    stage::{Operator, Pod, Stage},
};

/// Longer than an operator takes to see that something is to be done.
const A_WHILE: Duration = Duration::from_secs(4);

/// Longer than pods take to find another leader, and than an operator waits before it says that there are none.
const A_LONG_WHILE: Duration = Duration::from_secs(25);

fn nothing_is_written(what: &str, operator: &Operator, while_: Duration) {
    never(what, while_, || {
        let writes = operator.proxy.writes();
        assert!(writes.is_empty(), "{what}: {} writes {writes:?}", operator.identity);
        false
    });
}

/// A second look, another process, another leader: none of them writes what stands there already.
#[test]
fn an_unchanged_world_costs_no_write() {
    let stage = Stage::new();
    let mut manifests = Manifests::example("tenant").in_namespaces("quiet");
    manifests.on_free_ports();
    manifests.apply(stage.world);
    let one = stage.operator("one");
    one.await_ready();
    let cluster = ("quiet-platform", "c14");
    let pods = [stage.media(cluster, "c14-media-0"), stage.edge(cluster, "c14-edge-0")];
    pods.iter().for_each(Pod::await_ready);
    stage.await_condition("PhoneNumber", "quiet-acme", "new-york-1", "Programmed", "True");
    stage.settle(&one);
    assert!(one.proxy.writes().len() >= manifests.ids().len(), "every object has got a status");

    one.proxy.forget();
    one.proxy.cut_watches();
    one.await_ready();
    nothing_is_written("all was listed anew", &one, A_WHILE);

    assert!(one.process.terminate().success());
    let two = stage.operator("two");
    two.await_ready();
    two.await_leading();
    nothing_is_written("the operator was started anew", &two, A_LONG_WHILE);

    let three = stage.operator("three");
    three.await_ready();
    two.process.kill();
    three.await_leading();
    nothing_is_written("another one leads", &three, A_LONG_WHILE);
}
