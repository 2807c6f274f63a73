"""Page templates, stylesheet and fonts of the audit report."""
