"""The protocols of the papers, along the flow of data: what the papers fix (`published`), how runs
are executed (`execution`), what results become (`reporting`); and the commands `run`, `launch`,
`report`."""
