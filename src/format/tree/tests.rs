//! Round trips and refusals of nodes and shards.

use super::*;

fn sample() -> Node {
    let id = ChunkId::new([3; 32]);
    let mut node = Node::new(
        b"file".to_vec(),
        Body::File {
            size: 10,
            content: vec![Item::Data { id, len: 4 }, Item::Hole(6)],
        },
    );
    node.meta.mode = 0o4755;
    node.meta.mtime = Time {
        seconds: -5,
        nanoseconds: 999_999_999,
    };
    node.meta.atime = Some(Time::default());
    node.meta.xattrs = vec![Xattr {
        name: b"user.a".to_vec(),
        value: vec![0, 255],
    }];
    node.link_group = 7;
    node.links = 2;
    node.torn = true;
    node
}

#[test]
fn nodes_round_trip() {
    let tree = TreeRef {
        id: ChunkId::new([1; 32]),
        names: 2,
        directories: 1,
        total: 5,
        bytes: 9,
    };
    let bodies = [
        Body::Directory(tree),
        Body::Symlink(b"../x".to_vec()),
        Body::Symlink(Vec::new()),
        Body::Fifo,
        Body::Socket,
        Body::CharDevice(1, 3),
        Body::BlockDevice(8, 0),
    ];
    for node in bodies
        .into_iter()
        .map(|b| Node::new(b"n".to_vec(), b))
        .chain([sample()])
    {
        let mut bytes = Vec::new();
        node.encode(&mut bytes);
        assert_eq!(Node::decode(&bytes).unwrap(), node);
    }
}

#[test]
fn unknown_fields_survive() {
    let mut bytes = Vec::new();
    sample().encode(&mut bytes);
    put_field(&mut bytes, 90, b"future");
    put_number(&mut bytes, 91, 5);
    let node = Node::decode(&bytes).unwrap();
    let mut again = Vec::new();
    node.encode(&mut again);
    assert_eq!(again, bytes);
}

#[test]
fn hostile_nodes_are_refused() {
    for name in [&b".."[..], b"a/b", b"."] {
        let mut bytes = Vec::new();
        Node::new(name.to_vec(), Body::Fifo).encode(&mut bytes);
        assert!(Node::decode(&bytes).is_err());
    }
    let mut bytes = Vec::new();
    let mut node = sample();
    node.body = Body::File {
        size: 11,
        content: vec![Item::Hole(6)],
    };
    node.encode(&mut bytes);
    assert_eq!(
        Node::decode(&bytes).unwrap_err().what,
        "content does not sum to the size"
    );
}

#[test]
fn shards_must_be_in_order() {
    let mut bytes = vec![Shard::LEAF];
    for name in [b"a", b"b"] {
        let mut node = Vec::new();
        Node::new(name.to_vec(), Body::Fifo).encode(&mut node);
        put_bytes(&mut bytes, &node);
    }
    assert!(matches!(Shard::decode(&bytes).unwrap(), Shard::Leaf(nodes) if nodes.len() == 2));
    let second = bytes[1..].to_vec();
    bytes.extend_from_slice(&second);
    assert!(Shard::decode(&bytes).is_err());
    assert!(Shard::decode(&[1]).is_err());
    assert!(Shard::decode(&[2]).is_err());
}
