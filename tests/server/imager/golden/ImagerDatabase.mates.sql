SELECT crystal.i_images.imagename
FROM crystal.i_images
WHERE crystal.i_images.inspectid = :inspectid_1 AND crystal.i_images.imagename LIKE :imagename_1 ESCAPE '\' ORDER BY crystal.i_images.imagename;

