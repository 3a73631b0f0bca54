//! The control plane: observe, plan, apply, roster, ledger, push and status.
