//! A client that spreads Gets over the nodes, and groupcachectl.
