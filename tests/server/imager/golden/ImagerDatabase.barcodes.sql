SELECT DISTINCT crystal.i_inspections.barcodeid
FROM crystal.i_inspections ORDER BY crystal.i_inspections.barcodeid;

