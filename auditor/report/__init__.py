"""An AuditRecord as a document. No torch, no probes."""
