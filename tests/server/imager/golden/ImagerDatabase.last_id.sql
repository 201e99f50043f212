SELECT max(crystal.i_inspections.inspectid) AS max_1
FROM crystal.i_inspections;

