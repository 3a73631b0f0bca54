//! What a user may ask for: the CacheCluster types with their CEL rules, and the generated YAML.
