//! Where the boxes of a diagram stand and how the arrows between them run: layers from top to bottom, as Sugiyama, Tagawa and Toda have it
//! ("Methods for visual understanding of hierarchical system structures", 1981).
//!
//! 1. Arrows that close a circle are turned round, so that all lead down.
//! 2. Each box gets a layer below all that lead to it. Between two layers lies one for the labels.
//! 3. An arrow gets a place in each layer that it passes; its label takes one of them. Places are ordered so that few arrows cross.
//! 4. Places move towards what they are joined with, as far as their neighbours let them: least squares under an order, by
//!    pooling adjacent violators.
//!
//! An arrow bends between layers alone and runs straight through them, so it passes no box and no label. The same graph gives the
//! same picture. There are as many places as layers times arrows, so whoever asks bounds both.

/// How large something is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Size {
    pub(crate) width: f64,
    pub(crate) height: f64,
}

/// The middle of something, and its size.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Area {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) size: Size,
}

/// What is to be laid out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Size>,
    /// Between different nodes.
    pub(crate) links: Vec<Link>,
}

/// An arrow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) label: Size,
}

/// A graph that is laid out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Placed {
    pub(crate) nodes: Vec<Area>,
    pub(crate) routes: Vec<Route>,
    pub(crate) size: Size,
}

/// How an arrow runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Route {
    /// From its beginning to its head. Between the points it leaves and arrives vertically.
    pub(crate) points: Vec<(f64, f64)>,
    pub(crate) label: Area,
}

const BETWEEN_LAYERS: f64 = 24.0;
const BETWEEN_PLACES: f64 = 18.0;
const SWEEPS: usize = 12;

/// What takes room in a layer: a box, or an arrow that passes.
struct Item {
    layer: usize,
    size: Size,
    above: Vec<usize>,
    below: Vec<usize>,
    x: f64,
}

/// A graph on its way.
struct Draft<'g> {
    graph: &'g Graph,
    /// Which links are turned round.
    turned: Vec<bool>,
    /// First the nodes, then the places of links.
    items: Vec<Item>,
    /// By link, its places from top to bottom, and which of them is its label's.
    places: Vec<(Vec<usize>, usize)>,
    /// The items of each layer, from left to right.
    layers: Vec<Vec<usize>>,
}

impl Graph {
    /// Lays the graph out.
    pub(crate) fn layered(&self) -> Placed {
        if self.nodes.is_empty() {
            return Placed::default();
        }
        let turned = self.turned();
        let layers = self.layers(&turned);
        let mut draft = Draft::new(self, turned, &layers);
        draft.order();
        draft.place();
        draft.placed()
    }

    /// The links that lead back to where a walk from the first node on came from.
    fn turned(&self) -> Vec<bool> {
        #[derive(Clone, Copy, PartialEq)]
        enum Been {
            Never,
            OnTheWay,
            Done,
        }
        let mut leading: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        self.links.iter().enumerate().for_each(|(number, link)| leading[link.from].push(number));
        let mut turned = vec![false; self.links.len()];
        let mut been = vec![Been::Never; self.nodes.len()];
        for root in 0..self.nodes.len() {
            if been[root] != Been::Never {
                continue;
            }
            been[root] = Been::OnTheWay;
            let mut way = vec![(root, 0)];
            while let Some((node, next)) = way.last_mut() {
                let Some(&link) = leading[*node].get(*next) else {
                    been[*node] = Been::Done;
                    way.pop();
                    continue;
                };
                *next += 1;
                let to = self.links[link].to;
                match been[to] {
                    Been::Never => {
                        been[to] = Been::OnTheWay;
                        way.push((to, 0));
                    }
                    Been::OnTheWay => turned[link] = true,
                    Been::Done => {}
                }
            }
        }
        turned
    }

    /// The upper and the lower node of a link.
    fn ends(&self, link: usize, turned: &[bool]) -> (usize, usize) {
        let Link { from, to, .. } = self.links[link];
        if turned[link] { (to, from) } else { (from, to) }
    }

    /// The layer of each node: the longest way to it. Those between are for labels.
    fn layers(&self, turned: &[bool]) -> Vec<usize> {
        let mut layers = vec![0; self.nodes.len()];
        // As long as there is a circle no more often than there are nodes.
        for _ in 0..self.nodes.len() {
            let mut moved = false;
            for link in 0..self.links.len() {
                let (upper, lower) = self.ends(link, turned);
                if layers[lower] < layers[upper] + 2 {
                    layers[lower] = layers[upper] + 2;
                    moved = true;
                }
            }
            if !moved {
                break;
            }
        }
        layers
    }
}

impl<'g> Draft<'g> {
    fn new(graph: &'g Graph, turned: Vec<bool>, node_layers: &[usize]) -> Draft<'g> {
        let item = |layer, size| Item { layer, size, above: Vec::new(), below: Vec::new(), x: 0.0 };
        let mut items: Vec<_> = graph.nodes.iter().zip(node_layers).map(|(size, layer)| item(*layer, *size)).collect();
        let mut places = Vec::new();
        for (number, link) in graph.links.iter().enumerate() {
            let (upper, lower) = graph.ends(number, &turned);
            let (top, bottom) = (node_layers[upper], node_layers[lower]);
            // Layers of labels have odd numbers.
            let label = ((top + bottom) / 2) | 1;
            let mut passed = Vec::new();
            let mut before = upper;
            for layer in top + 1..bottom {
                let size = if layer == label { link.label } else { Size { width: 2.0, height: 0.0 } };
                items.push(item(layer, size));
                let place = items.len() - 1;
                items[before].below.push(place);
                items[place].above.push(before);
                passed.push(place);
                before = place;
            }
            items[before].below.push(lower);
            items[lower].above.push(before);
            places.push((passed, label - top - 1));
        }
        let mut layers = vec![Vec::new(); items.iter().map(|item| item.layer).max().unwrap_or(0) + 1];
        items.iter().enumerate().for_each(|(number, item)| layers[item.layer].push(number));
        Draft { graph, turned, items, places, layers }
    }

    /// Orders each layer by the middle of what its items are joined with, down and up in turn, and keeps what crosses least.
    fn order(&mut self) {
        let mut best = (self.crossings(), self.layers.clone());
        for sweep in 0..SWEEPS {
            let down = sweep % 2 == 0;
            for step in 1..self.layers.len() {
                let (layer, before) =
                    if down { (step, step - 1) } else { (self.layers.len() - 1 - step, self.layers.len() - step) };
                let at = self.positions(before);
                let mut keyed: Vec<(f64, usize)> = Vec::new();
                for (place, &item) in self.layers[layer].iter().enumerate() {
                    let joined = if down { &self.items[item].above } else { &self.items[item].below };
                    #[expect(clippy::cast_precision_loss, reason = "there are few")]
                    let middle = joined.iter().map(|other| at[other] as f64).sum::<f64>() / joined.len() as f64;
                    #[expect(clippy::cast_precision_loss, reason = "there are few")]
                    keyed.push((if joined.is_empty() { place as f64 } else { middle }, item));
                }
                keyed.sort_by(|(one, _), (other, _)| one.total_cmp(other));
                self.layers[layer] = keyed.into_iter().map(|(_, item)| item).collect();
            }
            let crossings = self.crossings();
            if crossings < best.0 {
                best = (crossings, self.layers.clone());
            }
        }
        self.layers = best.1;
    }

    /// Which place in its layer each item has.
    fn positions(&self, layer: usize) -> std::collections::BTreeMap<usize, usize> {
        self.layers[layer].iter().enumerate().map(|(place, item)| (*item, place)).collect()
    }

    /// How many pairs of lines cross between neighbouring layers.
    fn crossings(&self) -> usize {
        let mut crossings = 0;
        for layer in 1..self.layers.len() {
            let at = self.positions(layer);
            let mut lines = Vec::new();
            for item in &self.layers[layer - 1] {
                let mut lower: Vec<_> = self.items[*item].below.iter().map(|other| at[other]).collect();
                lower.sort_unstable();
                lines.extend(lower);
            }
            for (number, line) in lines.iter().enumerate() {
                crossings += lines[..number].iter().filter(|before| *before > line).count();
            }
        }
        crossings
    }

    /// Gives each item its place from left to right.
    fn place(&mut self) {
        for layer in 0..self.layers.len() {
            let wanted = vec![0.0; self.layers[layer].len()];
            self.settle(layer, &wanted);
        }
        for sweep in 0..SWEEPS * 2 {
            let down = sweep % 2 == 0;
            for step in 0..self.layers.len() {
                let layer = if down { step } else { self.layers.len() - 1 - step };
                let wanted: Vec<_> = self.layers[layer].iter().map(|item| self.wanted(*item, sweep, down)).collect();
                self.settle(layer, &wanted);
            }
        }
    }

    /// Where an item would stand if it were alone.
    #[expect(clippy::cast_precision_loss, reason = "there are few")]
    fn wanted(&self, item: usize, sweep: usize, down: bool) -> f64 {
        let Item { above, below, x, .. } = &self.items[item];
        let middle = |others: &[usize]| {
            let sum: f64 = others.iter().map(|other| self.items[*other].x).sum();
            (!others.is_empty()).then(|| sum / others.len() as f64)
        };
        let (one, other) = if down { (middle(above), middle(below)) } else { (middle(below), middle(above)) };
        match (one, other) {
            // In the end both sides count.
            (Some(one), Some(other)) if sweep >= SWEEPS => (one + other) / 2.0,
            (Some(one), _) => one,
            (None, Some(other)) => other,
            (None, None) => *x,
        }
    }

    /// Puts a layer's items as near to where they want to be as their order and sizes let them.
    fn settle(&mut self, layer: usize, wanted: &[f64]) {
        let order = &self.layers[layer];
        let mut offsets = Vec::with_capacity(order.len());
        let mut offset = 0.0;
        for (place, item) in order.iter().enumerate() {
            if let Some(before) = place.checked_sub(1) {
                let widths = self.items[order[before]].size.width + self.items[*item].size.width;
                offset += widths / 2.0 + BETWEEN_PLACES;
            }
            offsets.push(offset);
        }
        // Blocks of items that touch: the sum of where they want to be, and how many they are.
        let mut blocks: Vec<(f64, f64)> = Vec::new();
        for (wanted, offset) in wanted.iter().zip(&offsets) {
            let mut block = (wanted - offset, 1.0);
            while let Some(before) = blocks.last().copied().filter(|before| before.0 / before.1 > block.0 / block.1) {
                block = (block.0 + before.0, block.1 + before.1);
                blocks.pop();
            }
            blocks.push(block);
        }
        let mut places = order.iter().zip(&offsets);
        for (sum, count) in blocks {
            let mut left = count;
            while left > 0.5
                && let Some((item, offset)) = places.next()
            {
                self.items[*item].x = sum / count + offset;
                left -= 1.0;
            }
        }
    }

    /// Where everything is, from the upper left corner on.
    fn placed(self) -> Placed {
        let Draft { graph, turned, items, places, layers } = self;
        let left = items.iter().map(|item| item.x - item.size.width / 2.0).fold(f64::INFINITY, f64::min);
        let right = items.iter().map(|item| item.x + item.size.width / 2.0).fold(f64::NEG_INFINITY, f64::max);
        // The upper and lower border of each layer.
        let mut borders: Vec<(f64, f64)> = Vec::new();
        let mut top = 0.0;
        for layer in &layers {
            let height = layer.iter().map(|item| items[*item].size.height).fold(0.0, f64::max);
            borders.push((top, top + height));
            top += height + BETWEEN_LAYERS;
        }
        let area = |item: &Item| {
            let (top, bottom) = borders[item.layer];
            Area { x: item.x - left, y: (top + bottom) / 2.0, size: item.size }
        };
        let nodes: Vec<Area> = items[..graph.nodes.len()].iter().map(area).collect();
        let ports = Ports::new(graph, &turned, &items, &places);
        let routes = places.iter().enumerate().map(|(number, (passed, label))| {
            let (upper, lower) = graph.ends(number, &turned);
            let (upper, lower) = (nodes[upper], nodes[lower]);
            let (out, into) = ports.of(number);
            let mut points = vec![(upper.x + out, upper.y + upper.size.height / 2.0)];
            for place in passed {
                let (top, bottom) = borders[items[*place].layer];
                points.extend([(items[*place].x - left, top), (items[*place].x - left, bottom)]);
            }
            points.push((lower.x + into, lower.y - lower.size.height / 2.0));
            if turned[number] {
                points.reverse();
            }
            Route { points, label: area(&items[passed[*label]]) }
        });
        let routes = routes.collect();
        Placed { nodes, routes, size: Size { width: right - left, height: top - BETWEEN_LAYERS } }
    }
}

/// Where on the borders of boxes the links leave and arrive, as seen from the boxes' middles.
struct Ports(Vec<(f64, f64)>);

impl Ports {
    fn new(graph: &Graph, turned: &[bool], items: &[Item], places: &[(Vec<usize>, usize)]) -> Ports {
        let mut ports = vec![(0.0, 0.0); graph.links.len()];
        for (node, size) in graph.nodes.iter().enumerate() {
            for upper_side in [false, true] {
                let touches = |link: &usize| {
                    let (upper, lower) = graph.ends(*link, turned);
                    if upper_side { lower == node } else { upper == node }
                };
                let mut touching: Vec<usize> = (0..graph.links.len()).filter(touches).collect();
                let next = |link: &usize| {
                    let passed = &places[*link].0;
                    items[if upper_side { passed[passed.len() - 1] } else { passed[0] }].x
                };
                touching.sort_by(|one, other| next(one).total_cmp(&next(other)));
                #[expect(clippy::cast_precision_loss, reason = "there are few")]
                for (place, link) in touching.iter().enumerate() {
                    let share = (place + 1) as f64 / (touching.len() + 1) as f64 - 0.5;
                    let port = share * size.width * 0.9;
                    if upper_side { ports[*link].1 = port } else { ports[*link].0 = port }
                }
            }
        }
        Ports(ports)
    }

    fn of(&self, link: usize) -> (f64, f64) {
        self.0[link]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(nodes: usize, links: &[(usize, usize)]) -> Graph {
        let label = Size { width: 60.0, height: 16.0 };
        let links = links.iter().map(|(from, to)| Link { from: *from, to: *to, label }).collect();
        Graph { nodes: vec![Size { width: 80.0, height: 30.0 }; nodes], links }
    }

    fn overlap(one: &Area, other: &Area) -> bool {
        let apart = |a: f64, b: f64, size: f64| (a - b).abs() >= size - 0.01;
        !apart(one.x, other.x, (one.size.width + other.size.width) / 2.0)
            && !apart(one.y, other.y, (one.size.height + other.size.height) / 2.0)
    }

    /// Nothing stands on anything else or outside, arrows begin and end at their boxes, and pass through no other.
    fn check(graph: &Graph) -> Placed {
        let placed = graph.layered();
        let areas: Vec<_> = placed.nodes.iter().chain(placed.routes.iter().map(|route| &route.label)).collect();
        for (number, area) in areas.iter().enumerate() {
            assert!(areas[..number].iter().all(|other| !overlap(area, other)), "{area:?} in {placed:?}");
            let (half_width, half_height) = (area.size.width / 2.0, area.size.height / 2.0);
            assert!(area.x - half_width >= -0.01 && area.x + half_width <= placed.size.width + 0.01);
            assert!(area.y - half_height >= -0.01 && area.y + half_height <= placed.size.height + 0.01);
        }
        for (link, route) in graph.links.iter().zip(&placed.routes) {
            let touches = |point: (f64, f64), area: &Area| {
                (point.0 - area.x).abs() <= area.size.width / 2.0
                    && ((point.1 - area.y).abs() - area.size.height / 2.0).abs() < 0.01
            };
            assert!(touches(route.points[0], &placed.nodes[link.from]), "{route:?}");
            assert!(touches(route.points[route.points.len() - 1], &placed.nodes[link.to]), "{route:?}");
            let inside = |point: &(f64, f64), area: &Area| {
                (point.0 - area.x).abs() < area.size.width / 2.0 - 0.01
                    && (point.1 - area.y).abs() < area.size.height / 2.0 - 0.01
            };
            for point in &route.points {
                assert!(placed.nodes.iter().all(|node| !inside(point, node)), "{point:?} of {link:?}");
            }
        }
        placed
    }

    #[test]
    fn a_chain_runs_straight_down() {
        let placed = check(&graph(4, &[(0, 1), (1, 2), (2, 3)]));
        assert!(placed.nodes.windows(2).all(|pair| pair[0].y < pair[1].y && (pair[0].x - pair[1].x).abs() < 0.01));
    }

    #[test]
    fn circles_both_ways_and_lone_boxes_find_their_places() {
        check(&graph(0, &[]));
        check(&graph(3, &[]));
        let both = check(&graph(2, &[(0, 1), (1, 0)]));
        assert!((both.routes[0].label.x - both.routes[1].label.x).abs() >= 60.0, "their labels stand side by side");
        check(&graph(3, &[(0, 1), (1, 2), (2, 0)]));
        check(&graph(5, &[(1, 2), (2, 3), (3, 1), (0, 4), (4, 0), (2, 4)]));
        // Several arrows between the same two.
        check(&graph(2, &[(0, 1), (0, 1), (0, 1)]));
    }

    #[test]
    fn thirty_states_with_many_ways_are_laid_out_the_same_each_time() {
        // A generator of numbers that are mixed well enough, and the same each time.
        let mut state = 7_usize;
        let mut next = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for nodes in [5, 12, 30] {
            let links: Vec<_> = (0..nodes * 2).map(|_| (next(nodes), next(nodes))).filter(|it| it.0 != it.1).collect();
            let one = check(&graph(nodes, &links));
            assert_eq!(format!("{one:?}"), format!("{:?}", graph(nodes, &links).layered()));
        }
    }

    #[test]
    fn arrows_that_need_not_cross_dont() {
        let graph = graph(6, &[(0, 5), (1, 4), (2, 3)]);
        let (turned, layers) = (graph.turned(), graph.layers(&graph.turned()));
        let mut draft = Draft::new(&graph, turned, &layers);
        assert!(draft.crossings() > 0);
        draft.order();
        assert_eq!(draft.crossings(), 0);
    }
}
