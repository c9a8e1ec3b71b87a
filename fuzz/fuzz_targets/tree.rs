//! Shards and nodes: what was decoded, encoded again, decodes to the same; unknown fields and all.
#![no_main]

use libfuzzer_sys::fuzz_target;
use repo::format::put_bytes;
use repo::format::tree::{Node, Shard};

fn encode(shard: &Shard) -> Vec<u8> {
    let mut out = Vec::new();
    match shard {
        Shard::Leaf(nodes) => {
            out.push(Shard::LEAF);
            for node in nodes {
                let mut bytes = Vec::new();
                node.encode(&mut bytes);
                put_bytes(&mut out, &bytes);
            }
        }
        Shard::Index(shards) => {
            out.push(Shard::INDEX);
            for (name, tree) in shards {
                Shard::put_index_entry(&mut out, name, tree);
            }
        }
    }
    out
}

fuzz_target!(|data: &[u8]| {
    if let Ok(shard) = Shard::decode(data) {
        let encoded = encode(&shard);
        if matches!(shard, Shard::Index(_)) {
            assert_eq!(encoded, data);
        }
        assert_eq!(Shard::decode(&encoded).expect("its own encoding"), shard);
    }
    if let Ok(node) = Node::decode(data) {
        let mut encoded = Vec::new();
        node.encode(&mut encoded);
        assert_eq!(Node::decode(&encoded).expect("its own encoding"), node);
        assert!(node.entries() > 0);
    }
});
