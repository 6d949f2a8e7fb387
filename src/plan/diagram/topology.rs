//! What leads where: carriers → points of presence → trunks → numbers → flows → queues → agents, and whatever else flows
//! name.
//!
//! Trunks, numbers and flows are drawn as they are live; the rest as it is declared.

mod cards;
mod objects;

use std::collections::{BTreeMap, BTreeSet};

use api::v1alpha1 as v1;
use model::{
    FlowId, Key, TrunkId,
    program::{DialTarget, Program, Verb},
    snapshot::{NumberRange, Snapshot},
};

use self::{cards::Cards, objects::Objects};
use super::{Direction, Drawing, Edge, NoDiagram, Node, Style, words};
use crate::{Plan, checks::serves, resources::Resources};

/// Most boxes of a topology.
pub(super) const BOXES_MAX: usize = 2_000;

/// Most columns of flows that lead to one another.
const FLOWS_IN_A_ROW_MAX: usize = 8;

/// The stage of flows. Of those that lead to one another, each is a column further.
const FLOWS: usize = 4;

/// What a box stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Carrier(Key),
    Pop(Key),
    Inbound(TrunkId),
    /// Numbers that come by one trunk and lead to one flow are one box.
    Numbers(TrunkId, FlowId),
    ContactPoint(Key),
    Flow(FlowId),
    Campaign(Key),
    Queue(Key),
    /// Agents of a namespace who serve the same queues are one box.
    Agents(String, Vec<Key>),
    VoicemailBox(Key),
    Integration(Key),
    Outbound(TrunkId),
}

impl Thing {
    fn namespace(&self) -> &str {
        match self {
            Self::Carrier(key)
            | Self::Pop(key)
            | Self::ContactPoint(key)
            | Self::Campaign(key)
            | Self::Queue(key)
            | Self::VoicemailBox(key)
            | Self::Integration(key) => key.namespace(),
            Self::Inbound(trunk) | Self::Outbound(trunk) => trunk.0.namespace(),
            Self::Numbers(_, flow) | Self::Flow(flow) => flow.0.namespace(),
            Self::Agents(namespace, _) => namespace,
        }
    }

    /// Its place from left to right.
    const fn stage(&self) -> usize {
        match self {
            Self::Carrier(_) => 0,
            Self::Pop(_) => 1,
            Self::Inbound(_) => 2,
            Self::Numbers(..) | Self::ContactPoint(_) | Self::Campaign(_) => 3,
            Self::Flow(_) => FLOWS,
            Self::Queue(_) | Self::VoicemailBox(_) | Self::Integration(_) | Self::Outbound(_) => 5,
            Self::Agents(..) => 6,
        }
    }

    /// Whose pictures a tenant is given: not those of the platform's own places.
    const fn is_a_tenants(&self) -> bool {
        !matches!(self, Self::Carrier(_) | Self::Pop(_) | Self::Inbound(_) | Self::Outbound(_))
    }
}

/// Agents by their namespace and the queues that they serve.
type Teams<'a> = BTreeMap<(&'a str, Vec<&'a Key>), Vec<(&'a Key, &'a v1::AgentSpec)>>;

/// The boxes of a picture while it is being drawn.
struct Boxes<'a> {
    cards: Cards<'a>,
    objects: Objects<'a>,
    places: BTreeMap<Thing, usize>,
    things: Vec<Thing>,
    nodes: Vec<Node>,
    edges: BTreeMap<(usize, usize), BTreeSet<String>>,
    /// Agents that flows ring by name: the flow's box and the agent.
    rung: Vec<(usize, Key)>,
}

/// The drawing of all clusters and tenants, or of what one tenant has and what leads to it.
pub(super) fn drawing(
    plan: &Plan,
    resources: &Resources,
    namespace: Option<&str>,
) -> Result<Drawing, NoDiagram> {
    let objects = Objects::of(resources);
    let tenants = tenants(plan, &objects);
    if let Some(unknown) = namespace.filter(|namespace| !tenants.contains(namespace)) {
        let known = tenants.into_iter().map(str::to_owned).collect();
        return Err(NoDiagram::NoNamespace { namespace: unknown.to_owned(), known });
    }
    let only = tenants.first().copied().filter(|_| tenants.len() == 1);
    let mut boxes = Boxes::new(objects, namespace.or(only));
    boxes.ways_in();
    for cluster in plan.clusters.values() {
        boxes.trunks(&cluster.snapshot)?;
    }
    for (key, flow) in &plan.good().flows {
        boxes.flow(key, &flow.program, plan);
        boxes.bounded()?;
    }
    boxes.people()?;
    if let Some(namespace) = namespace {
        boxes.keep_what_concerns(namespace);
    }
    if boxes.nodes.is_empty() {
        return Err(NoDiagram::Empty);
    }
    Ok(boxes.drawing(title(plan, namespace.or(only))))
}

/// Namespaces that have something of their own in the picture.
fn tenants<'a>(plan: &'a Plan, objects: &Objects<'a>) -> BTreeSet<&'a str> {
    let flows = plan.flows();
    let queues = objects.queues.keys().chain(objects.agents.keys()).chain(objects.campaigns.keys());
    flows.chain(queues.chain(objects.points.keys()).copied()).map(Key::namespace).collect()
}

fn title(plan: &Plan, namespace: Option<&str>) -> String {
    let clusters = plan.clusters.iter().filter(|(id, _)| {
        let tenants = &plan.good().tenants;
        let mut own = tenants.iter().filter(|(key, _)| Some(key.namespace()) == namespace);
        namespace.is_none()
            || own.any(|(key, tenant)| {
                let cluster = &tenant.cluster_ref;
                let home = cluster.namespace.as_deref().unwrap_or_else(|| key.namespace());
                id.0 == Key::new(home, &cluster.name)
            })
    });
    let codes: Vec<&str> = clusters.map(|(_, cluster)| cluster.snapshot.cluster.code.as_str()).collect();
    let on = if codes.is_empty() { String::new() } else { format!(" on {}", codes.join(", ")) };
    namespace.map_or_else(
        || format!("Topology of {}", codes.join(", ")),
        |namespace| format!("Topology of {namespace}{on}"),
    )
}

impl<'a> Boxes<'a> {
    const fn new(objects: Objects<'a>, home: Option<&'a str>) -> Self {
        Self {
            cards: Cards { home },
            objects,
            places: BTreeMap::new(),
            things: Vec::new(),
            nodes: Vec::new(),
            edges: BTreeMap::new(),
            rung: Vec::new(),
        }
    }

    fn place(&mut self, thing: Thing, node: impl FnOnce(&Self) -> Node) -> usize {
        if let Some(known) = self.places.get(&thing) {
            return *known;
        }
        let place = self.nodes.len();
        let node = node(self);
        self.nodes.push(node);
        self.things.push(thing.clone());
        self.places.insert(thing, place);
        place
    }

    fn lead(&mut self, from: usize, to: usize, label: Option<String>) {
        // A flow may lead to itself; that is its own picture's matter.
        if from != to {
            self.edges.entry((from, to)).or_default().extend(label);
        }
    }

    fn bounded(&self) -> Result<(), NoDiagram> {
        if self.nodes.len() > BOXES_MAX { Err(NoDiagram::TooLarge { what: "boxes" }) } else { Ok(()) }
    }

    /// Carriers and their places.
    fn ways_in(&mut self) {
        let carriers: Vec<_> = self.objects.carriers.iter().map(|(key, spec)| (*key, *spec)).collect();
        for (key, spec) in carriers {
            let carrier = self.place(Thing::Carrier(key.clone()), |boxes| boxes.cards.carrier(key, spec));
            for pop in &spec.pop_refs {
                if let Some(pop) = self.pop(&Key::new(key.namespace(), &pop.name)) {
                    self.lead(carrier, pop, None);
                }
            }
        }
    }

    fn pop(&mut self, key: &Key) -> Option<usize> {
        let spec = *self.objects.pops.get(key)?;
        Some(self.place(Thing::Pop(key.clone()), |boxes| boxes.cards.pop(key, spec)))
    }

    fn trunks(&mut self, snapshot: &Snapshot) -> Result<(), NoDiagram> {
        for (id, trunk) in snapshot.trunks.iter().filter(|(_, trunk)| trunk.direction.is_inbound()) {
            let code = &snapshot.cluster.code;
            let inbound = self.place(Thing::Inbound(id.clone()), |boxes| {
                boxes.cards.inbound(id, trunk, boxes.objects.trunks.get(&id.0).copied(), code)
            });
            self.ways_to(&id.0, inbound);
            let ranges = snapshot.numbers.get(id).map(Vec::as_slice).unwrap_or_default();
            for (flow, numbers) in by_flow(ranges) {
                let thing = Thing::Numbers(id.clone(), flow.clone());
                let number = self.place(thing, |boxes| boxes.cards.numbers(&numbers));
                let steps = snapshot.flows.get(flow).map_or(0, |program| program.steps.len());
                let to = self.place(Thing::Flow(flow.clone()), |boxes| boxes.cards.flow(&flow.0, steps));
                self.lead(inbound, number, None);
                self.lead(number, to, None);
            }
            self.bounded()?;
        }
        for (id, trunk) in snapshot.trunks.iter().filter(|(_, trunk)| !trunk.direction.is_inbound()) {
            self.place(Thing::Outbound(id.clone()), |boxes| boxes.cards.outbound(id, trunk));
        }
        Ok(())
    }

    /// What leads to a trunk: its points of presence, or else its carrier.
    fn ways_to(&mut self, trunk: &Key, inbound: usize) {
        let Some(spec) = self.objects.trunks.get(trunk).copied() else { return };
        let of = |reference: &v1::LocalRef| Key::new(trunk.namespace(), &reference.name);
        let carrier = spec.carrier_ref.as_ref().map(of);
        let declared = carrier.as_ref().and_then(|key| self.objects.carriers.get(key));
        let pops: Vec<Key> = if spec.pop_refs.is_empty() {
            let pops = declared.map(|carrier| carrier.pop_refs.as_slice()).unwrap_or_default();
            pops.iter().map(of).filter(|pop| self.peers_with(spec, pop)).collect()
        } else {
            spec.pop_refs.iter().map(of).collect()
        };
        let places: Vec<usize> = pops.iter().filter_map(|pop| self.pop(pop)).collect();
        for pop in &places {
            self.lead(*pop, inbound, None);
        }
        let carrier = carrier.and_then(|key| self.places.get(&Thing::Carrier(key)).copied());
        if let Some(carrier) = carrier.filter(|_| places.is_empty()) {
            self.lead(carrier, inbound, None);
        }
    }

    /// Whether a trunk without `popRefs` has a gateway of a point of presence as its peer.
    fn peers_with(&self, trunk: &v1::TrunkSpec, pop: &Key) -> bool {
        let gateways = self.objects.pops.get(pop).map(|pop| pop.gateways.as_slice()).unwrap_or_default();
        gateways.iter().any(|gateway| trunk.peers.iter().any(|peer| peer.address == gateway.address))
    }

    fn flow(&mut self, key: &Key, program: &Program, plan: &Plan) {
        let thing = Thing::Flow(FlowId(key.clone()));
        let from = self.place(thing, |boxes| boxes.cards.flow(key, program.steps.len()));
        for step in &program.steps {
            for (to, label) in leads(&step.verb) {
                let Some(to) = self.reached(to, from, plan) else { continue };
                self.lead(from, to, label);
            }
        }
    }

    /// The box of what a flow leads to, unless it is not there or comes later.
    fn reached(&mut self, lead: Lead<'_>, from: usize, plan: &Plan) -> Option<usize> {
        match lead {
            Lead::Trunk(id) => {
                let trunk = plan.clusters.values().find_map(|cluster| cluster.snapshot.trunks.get(id))?;
                Some(self.place(Thing::Outbound(id.clone()), |boxes| boxes.cards.outbound(id, trunk)))
            }
            Lead::Flow(id) => {
                let steps = plan.good().flows.get(&id.0)?.program.steps.len();
                Some(self.place(Thing::Flow(id.clone()), |boxes| boxes.cards.flow(&id.0, steps)))
            }
            Lead::Queue(key) => self.queue(key),
            Lead::VoicemailBox(key) => {
                let spec = *self.objects.boxes.get(key)?;
                Some(self.place(Thing::VoicemailBox(key.clone()), |boxes| boxes.cards.voicemail(key, spec)))
            }
            Lead::Integration(key) => {
                let spec = *self.objects.integrations.get(key)?;
                Some(self.place(Thing::Integration(key.clone()), |boxes| boxes.cards.integration(key, spec)))
            }
            Lead::Agent(key) => {
                self.rung.push((from, key.clone()));
                None
            }
        }
    }

    fn queue(&mut self, key: &Key) -> Option<usize> {
        let spec = *self.objects.queues.get(key)?;
        Some(self.place(Thing::Queue(key.clone()), |boxes| boxes.cards.queue(key, spec)))
    }

    /// Queues, who serves them, and what leads to them besides flows.
    fn people(&mut self) -> Result<(), NoDiagram> {
        for (key, spec) in self.objects.points.clone() {
            let flow = FlowId(Key::new(key.namespace(), &spec.flow_ref.name));
            let point = self.place(Thing::ContactPoint(key.clone()), |boxes| boxes.cards.point(key, spec));
            if let Some(flow) = self.places.get(&Thing::Flow(flow)).copied() {
                self.lead(point, flow, None);
            }
        }
        for key in self.objects.queues.clone().into_keys() {
            self.queue(key);
        }
        for (key, spec) in self.objects.campaigns.clone() {
            let campaign = self.place(Thing::Campaign(key.clone()), |boxes| boxes.cards.campaign(key, spec));
            let queue = Thing::Queue(Key::new(key.namespace(), &spec.queue_ref.name));
            if let Some(queue) = self.places.get(&queue).copied() {
                self.lead(campaign, queue, None);
            }
        }
        for ((namespace, queues), agents) in self.teams() {
            let kind = if queues.is_empty() { "Agent, serves no queue" } else { "Agent" };
            let thing =
                Thing::Agents(namespace.to_owned(), queues.iter().map(|key| (*key).clone()).collect());
            let specs: Vec<_> = agents.iter().map(|(_, spec)| *spec).collect();
            let team = self.place(thing, |_| Cards::agents(&specs, kind));
            let rung = std::mem::take(&mut self.rung);
            for (flow, agent) in &rung {
                if agents.iter().any(|(key, _)| *key == agent) {
                    self.lead(*flow, team, Some(format!("rings {}", agent.name())));
                }
            }
            self.rung = rung;
            for queue in queues {
                if let Some(queue) = self.places.get(&Thing::Queue(queue.clone())).copied() {
                    self.lead(queue, team, None);
                }
            }
        }
        self.bounded()
    }

    /// Agents by the queues that they serve.
    fn teams(&self) -> Teams<'a> {
        let mut teams = Teams::new();
        for (agent, spec) in &self.objects.agents {
            let own = self.objects.queues.iter().filter(|(queue, _)| queue.namespace() == agent.namespace());
            let queues = own.filter(|(_, queue)| serves(spec, queue)).map(|(key, _)| *key).collect();
            teams.entry((agent.namespace(), queues)).or_default().push((*agent, *spec));
        }
        teams
    }

    /// Takes away all but what a namespace has, whatever leads to it, and the trunks that it dials.
    fn keep_what_concerns(&mut self, namespace: &str) {
        let owned = |thing: &Thing| thing.is_a_tenants() && thing.namespace() == namespace;
        let mut kept: BTreeSet<usize> =
            (0..self.things.len()).filter(|place| owned(&self.things[*place])).collect();
        let dials = |to: usize| matches!(self.things[to], Thing::Outbound(_));
        let dialled = self.edges.keys().filter(|(from, to)| kept.contains(from) && dials(*to));
        let dialled: Vec<usize> = dialled.map(|(_, to)| *to).collect();
        let mut open: Vec<usize> = kept.iter().copied().collect();
        while let Some(place) = open.pop() {
            let before = self.edges.keys().filter(|(_, to)| *to == place).map(|(from, _)| *from);
            open.extend(before.filter(|from| kept.insert(*from)));
        }
        kept.extend(dialled);
        let renumbered: BTreeMap<usize, usize> = kept.iter().copied().zip(0..).collect();
        let edges = std::mem::take(&mut self.edges).into_iter().filter_map(|((from, to), labels)| {
            Some(((*renumbered.get(&from)?, *renumbered.get(&to)?), labels))
        });
        self.edges = edges.collect();
        let nodes = std::mem::take(&mut self.nodes).into_iter().enumerate();
        self.nodes = nodes.filter(|(place, _)| kept.contains(place)).map(|(_, node)| node).collect();
        let things = std::mem::take(&mut self.things).into_iter().enumerate();
        self.things = things.filter(|(place, _)| kept.contains(place)).map(|(_, thing)| thing).collect();
    }

    /// Puts what is of one stage into one column; a stage that nothing is of takes none.
    fn columns(&mut self) {
        let is_flow = |place: usize| self.things[place].stage() == FLOWS;
        let mut further = vec![0_usize; self.things.len()];
        let between: Vec<_> = self.edges.keys().filter(|(from, to)| is_flow(*from) && is_flow(*to)).collect();
        // Flows that lead to one another in a ring stop going further after as many rounds as there are flows.
        for _ in 0..between.len().min(FLOWS_IN_A_ROW_MAX) {
            for (from, to) in &between {
                further[*to] = further[*to].max(further[*from] + 1).min(FLOWS_IN_A_ROW_MAX);
            }
        }
        let deepest = further.iter().copied().max().unwrap_or_default();
        let stage = |place: usize| match self.things[place].stage() {
            FLOWS => FLOWS + further[place],
            later if later > FLOWS => later + deepest,
            before => before,
        };
        let stages: Vec<usize> = (0..self.things.len()).map(stage).collect();
        let used: BTreeSet<usize> = stages.iter().copied().collect();
        for (node, stage) in self.nodes.iter_mut().zip(stages) {
            node.column = used.range(..stage).count();
        }
    }

    fn drawing(mut self, title: String) -> Drawing {
        self.columns();
        let description = self.description();
        let edges = self.edges.into_iter().map(|((from, to), labels)| Edge {
            from,
            to,
            label: words::cut(&labels.into_iter().collect::<Vec<_>>().join(", ")),
            style: Style::Plain,
        });
        Drawing { title, description, direction: Direction::Right, edges: edges.collect(), nodes: self.nodes }
    }

    fn description(&self) -> String {
        let lead = |(from, to): &(usize, usize)| {
            let (from, to) = (&self.nodes[*from], &self.nodes[*to]);
            format!("{} {} leads to {} {}.", from.kind, from.title, to.kind, to.title)
        };
        self.edges.keys().map(lead).collect::<Vec<_>>().join(" ")
    }
}

fn by_flow(ranges: &[NumberRange]) -> BTreeMap<&FlowId, Vec<&NumberRange>> {
    let mut flows: BTreeMap<&FlowId, Vec<&NumberRange>> = BTreeMap::new();
    for range in ranges {
        flows.entry(&range.flow).or_default().push(range);
    }
    flows
}

/// What a step leads to besides other steps.
enum Lead<'p> {
    Trunk(&'p TrunkId),
    Flow(&'p FlowId),
    Queue(&'p Key),
    Agent(&'p Key),
    VoicemailBox(&'p Key),
    Integration(&'p Key),
}

/// What a step leads to, each with what the arrow says.
fn leads(verb: &Verb) -> Vec<(Lead<'_>, Option<String>)> {
    match verb {
        Verb::Dial(dial) | Verb::Transfer { dial, .. } => dial.targets.iter().flat_map(rung).collect(),
        Verb::Call { flow, .. } => vec![(Lead::Flow(flow), Some("call".into()))],
        Verb::Queue(queue) => vec![(Lead::Queue(&queue.queue.0), None)],
        Verb::Callback { queue, .. } => vec![(Lead::Queue(&queue.0), Some("callback".into()))],
        Verb::Voicemail { voicemail_box, .. } => vec![(Lead::VoicemailBox(&voicemail_box.0), None)],
        Verb::Request(request) => vec![(Lead::Integration(&request.integration.0), None)],
        Verb::Play { .. }
        | Verb::Ask(_)
        | Verb::Hours { .. }
        | Verb::Branch { .. }
        | Verb::Set { .. }
        | Verb::Split { .. }
        | Verb::Wait { .. }
        | Verb::Record { .. }
        | Verb::Message { .. }
        | Verb::Hangup { .. } => Vec::new(),
    }
}

fn rung(target: &DialTarget) -> Vec<(Lead<'_>, Option<String>)> {
    match target {
        DialTarget::Number { number, trunks, .. } => {
            trunks.iter().map(|trunk| (Lead::Trunk(trunk), Some(number.to_string()))).collect()
        }
        DialTarget::Extension { user, trunk } => vec![(Lead::Trunk(trunk), Some(user.clone()))],
        DialTarget::Agent(agent) => vec![(Lead::Agent(&agent.0), None)],
    }
}
