"""Questions to the read model, one file each: plain frozen values back; must not know HTTP."""
