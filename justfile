# The everyday commands; `just` lists them. No logic lives here.

# Everything that must pass before a commit: exactly what CI runs.
check:
    bash tests/run.sh

# The tests alone; `just test l7_` runs those that bear the id.
test filter="":
    cargo nextest run --workspace {{filter}}

# The simulated disk's tests; `just sim 4117` replays a seed.
sim seed="":
    {{ if seed == "" { "" } else { "SEED=" + seed } }} cargo nextest run --package factum-storage

# The everyday benches.
bench:
    cargo bench --workspace

# Line coverage of the tests (needs cargo-llvm-cov).
cover:
    cargo llvm-cov nextest --workspace

# A server on ./data, built for development.
run *arguments:
    cargo run -- serve --data ./data {{arguments}}
