//! `switchboard`: one binary, one verb per role.

mod cmd;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;

/// A call is some dozens of short-lived strings and buffers: see `tests/bench` for what this one saves.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The connectivity of a cloud contact centre as YAML.
#[derive(Debug, Parser)]
#[command(name = "switchboard", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs a folder's clusters on this machine; reloads when a file changes; Ctrl-C drains.
    Local(cmd::local::Arguments),
    /// Runs an edge pod: SIP, calls and flows of one VoiceCluster, as its operator says.
    Edge(cmd::edge::Arguments),
    /// Runs a media pod: RTP, prompts and recordings of one VoiceCluster, as its edges say.
    Media(cmd::media::Arguments),
    /// Reconciles custom resources: plans, tells edge and media pods, reports back. Runs in a cluster.
    Operator(cmd::operator::Arguments),
    /// Prints every problem of a folder's manifests as `file:line:column: error[Reason]: message`.
    Check(cmd::check::Arguments),
    /// Tells which calls change between two folders or Git revisions, and not which lines.
    Plan(cmd::plan::Arguments),
    /// Runs the CallTests of a folder: made-up calls by the real engine, offline.
    Test(cmd::test::Arguments),
    /// Tells what would become of a call and why: trunk, number, flow, and every path through it.
    Explain(cmd::explain::Arguments),
    /// Draws a flow, or what leads where, as SVG or mermaid.
    Diagram(cmd::diagram::Arguments),
    /// Tells what a customer's firewall must let through; makes Allowlists of carriers' ranges.
    Firewall(cmd::firewall::Arguments),
    /// Places a real SIP call and prints its ladder: the phone for whoever has none.
    Call(cmd::call::Arguments),
    /// Prints the custom resource definitions, or writes them to a folder.
    Crds(cmd::crds::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.verb {
        Verb::Local(arguments) => cmd::local::run(&arguments),
        Verb::Edge(arguments) => cmd::edge::run(&arguments),
        Verb::Media(arguments) => cmd::media::run(&arguments),
        Verb::Operator(arguments) => cmd::operator::run(&arguments),
        Verb::Check(arguments) => cmd::check::run(&arguments),
        Verb::Plan(arguments) => cmd::plan::run(&arguments),
        Verb::Test(arguments) => cmd::test::run(&arguments),
        Verb::Explain(arguments) => cmd::explain::run(&arguments),
        Verb::Diagram(arguments) => cmd::diagram::run(&arguments),
        Verb::Firewall(arguments) => cmd::firewall::run(&arguments),
        Verb::Call(arguments) => cmd::call::run(&arguments),
        Verb::Crds(arguments) => cmd::crds::run(&arguments),
    };
    done.unwrap_or_else(|error| {
        cmd::complain(&error);
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn no_two_arguments_of_a_verb_clash() {
        super::Arguments::command().debug_assert();
    }
}
